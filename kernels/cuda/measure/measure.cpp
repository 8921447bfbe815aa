#include "kernels/cuda/measure/measure.h"

#include <algorithm>
#include <limits>

#include "common/base/error.h"
#include "common/tensor/padding.h"
#include "kernels/cuda/gemm/gemm.h"
#include "kernels/cuda/measure/exclude_ids.h"
#include "kernels/cuda/measure/measure_rows.h"
#include "kernels/op_checks.h"

namespace tessera::kernels::cuda {
namespace {

// Enough rows to make the LM head compute-bound; their logits are what the workspace holds.
constexpr std::int64_t kGroupRows = 256;
constexpr std::int64_t kAlignment = 256;

// The workspace: [parts of a group | logits of a group].
struct Layout {
  std::int64_t group_rows;
  std::int64_t logits;  // where they begin, bytes
  std::int64_t num_bytes;

  Layout(const PackShape& lm_head, std::int64_t num_rows)
      : group_rows(std::min(num_rows, kGroupRows)) {
    const std::int64_t parts = group_rows * num_measure_parts(lm_head.rows, lm_head.row_leaves);
    logits = round_up(parts * static_cast<std::int64_t>(sizeof(MeasurePartial)), kAlignment);
    num_bytes = logits + group_rows * lm_head.rows * static_cast<std::int64_t>(sizeof(float));
  }
};

ConstMatrixView rows_of(ConstMatrixView view, std::int64_t first, std::int64_t count) {
  view.data = view.row(first);
  view.rows = count;
  return view;
}

}  // namespace

std::int64_t measure_workspace_bytes(const CudaMatrix& lm_head, std::int64_t num_rows) {
  return Layout(lm_head.shape(), num_rows).num_bytes;
}

void measure(Context& context,
             ConstMatrixView hidden,
             const CudaMatrix& lm_head,
             const VocabularyShard& vocabulary,
             std::span<const Measure> measures,
             std::span<std::byte> workspace,
             std::span<MeasurePartial> partials) {
  const PackShape& shape = lm_head.shape();
  check_measure(hidden, shape, measures, static_cast<std::int64_t>(partials.size()),
                DType::kBFloat16);
  const Layout layout(shape, hidden.rows);
  TESSERA_REQUIRE(static_cast<std::int64_t>(workspace.size()) >= layout.num_bytes,
                  "measure: workspace of ", workspace.size(), " bytes for ", hidden.rows,
                  " rows, not ", layout.num_bytes);
  if (hidden.rows == 0) return;
  auto* parts = reinterpret_cast<MeasurePartial*>(workspace.data());
  const Measure* staged = context.stage(measures);
  for (std::int64_t first = 0; first < hidden.rows; first += layout.group_rows) {
    const std::int64_t count = std::min(layout.group_rows, hidden.rows - first);
    const MatrixView logits{workspace.data() + layout.logits, DType::kFloat32, count, shape.rows,
                            shape.rows};
    gemm(context, rows_of(hidden, first, count), lm_head, logits);
    if (vocabulary.softcap > 0.0F) soft_cap(context, logits, vocabulary.softcap);
    measure_rows(context, {logits, shape.row_leaves, vocabulary, staged + first, false}, parts,
                 partials.data() + first);
  }
}

void logits(Context& context,
            ConstMatrixView hidden,
            const CudaMatrix& lm_head,
            const VocabularyShard& vocabulary,
            std::span<const Measure> measures,
            MatrixView logits) {
  check_measure(hidden, lm_head.shape(), measures, logits.rows, DType::kBFloat16);
  gemm(context, hidden, lm_head, logits);
  if (vocabulary.softcap > 0.0F) soft_cap(context, logits, vocabulary.softcap);
  exclude_ids(context, logits, vocabulary, context.stage(measures));
}

void measure_logits(Context& context,
                    ConstMatrixView logits,
                    const CudaMatrix& lm_head,
                    TokenId first_id,
                    std::span<const Measure> measures,
                    std::span<std::byte> workspace,
                    std::span<MeasurePartial> partials) {
  const PackShape& shape = lm_head.shape();
  check_measure_logits(logits, shape, measures, static_cast<std::int64_t>(partials.size()));
  const Layout layout(shape, logits.rows);
  TESSERA_REQUIRE(static_cast<std::int64_t>(workspace.size()) >= layout.num_bytes,
                  "measure_logits: workspace of ", workspace.size(), " bytes for ", logits.rows,
                  " rows, not ", layout.num_bytes);
  if (logits.rows == 0) return;
  const VocabularyShard all{.first_id = first_id,
                            .tokenizer_size = std::numeric_limits<std::int32_t>::max()};
  auto* parts = reinterpret_cast<MeasurePartial*>(workspace.data());
  const Measure* staged = context.stage(measures);
  for (std::int64_t first = 0; first < logits.rows; first += layout.group_rows) {
    const std::int64_t count = std::min(layout.group_rows, logits.rows - first);
    measure_rows(context,
                 {rows_of(logits, first, count), shape.row_leaves, all, staged + first,
                  /*are_penalised=*/true},
                 parts, partials.data() + first);
  }
}

}  // namespace tessera::kernels::cuda
