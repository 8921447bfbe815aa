#include "kernels/op_checks.h"

#include "common/base/error.h"
#include "kernels/partition.h"

namespace tessera::kernels {
namespace {

void require_matrix(const char* what, const ConstMatrixView& view, DType dtype) {
  TESSERA_REQUIRE(view.dtype == dtype, what, " is ", name_of(view.dtype), ", not ", name_of(dtype));
  TESSERA_REQUIRE(view.rows >= 0 && view.cols >= 0 && view.row_stride >= view.cols, what, " is ",
                  view.rows, " x ", view.cols, " with row stride ", view.row_stride);
  TESSERA_REQUIRE(view.data != nullptr || view.rows == 0 || view.cols == 0, what, " is null");
}

void require_shape(const char* what,
                   const ConstMatrixView& view,
                   DType dtype,
                   std::int64_t rows,
                   std::int64_t cols) {
  require_matrix(what, view, dtype);
  TESSERA_REQUIRE(view.rows == rows && view.cols == cols, what, " is ", view.rows, " x ", view.cols,
                  ", not ", rows, " x ", cols);
}

void require_floating(const char* what, const ConstMatrixView& view) {
  TESSERA_REQUIRE(view.dtype != DType::kInt32, what, " is ", name_of(view.dtype));
  require_matrix(what, view, view.dtype);
}

void require_length(const char* what, std::size_t length, std::int64_t wanted) {
  TESSERA_REQUIRE(static_cast<std::int64_t>(length) == wanted, what, " has ", length,
                  " entries, not ", wanted);
}

bool is_leaf_count(std::int32_t n) {
  return n == 1 || n == 2 || n == 4 || n == 8;
}

void require_pages(const KvPages& pages) {
  TESSERA_REQUIRE(pages.num_kv_heads > 0 && pages.head_dim > 0 && pages.head_dim % 2 == 0 &&
                      pages.head_dim <= 512,
                  pages.num_kv_heads, " KV heads of ", pages.head_dim,
                  " dimensions: head_dim is even, up to 512");
  TESSERA_REQUIRE(pages.num_pages >= 0 && pages.page_size > 0, pages.num_pages, " pages of ",
                  pages.page_size);
  TESSERA_REQUIRE(pages.num_pages == 0 || (pages.k != nullptr && pages.v != nullptr),
                  "pages are null");
}

void require_span(const AttentionArgs& args, const AttentionSpan& span) {
  TESSERA_REQUIRE(
      span.num_rows >= 0 && span.first_row >= 0 && span.first_row + span.num_rows <= args.out.rows,
      "attention rows [", span.first_row, ", ", span.first_row + span.num_rows, ") of ",
      args.out.rows);
  TESSERA_REQUIRE(span.first >= 0 && span.cache_len >= 0, "attention from position ", span.first,
                  " over ", span.cache_len, " cached");
  const bool cache_only = span.mask == MaskKind::kCacheOnly;
  TESSERA_REQUIRE(cache_only || span.cache_len <= span.first, "attention: cache_len ",
                  span.cache_len, " reaches beyond position ", span.first);
  TESSERA_REQUIRE(span.mask_block >= 1, "attention: mask_block ", span.mask_block);
  const auto covered = static_cast<std::int64_t>(span.page_table.size()) * args.pages.page_size;
  TESSERA_REQUIRE(covered >= span.cache_len, "attention: ", span.page_table.size(), " pages of ",
                  args.pages.page_size, " do not hold ", span.cache_len, " positions");
  for (std::int64_t p = 0; p * args.pages.page_size < span.cache_len; ++p) {
    const PageId page = span.page_table[static_cast<std::size_t>(p)];
    TESSERA_REQUIRE(page >= 0 && page < args.pages.num_pages, "attention: page ", page, " of ",
                    args.pages.num_pages);
  }
}

}  // namespace

void check_shape(const PackShape& shape) {
  TESSERA_REQUIRE(shape.rows >= 0 && shape.cols >= 0, "packed matrix of ", shape.rows, " x ",
                  shape.cols);
  TESSERA_REQUIRE(is_leaf_count(shape.k_leaves), shape.k_leaves, " leaves of K: 1, 2, 4 or 8");
  TESSERA_REQUIRE(shape.row_leaves >= 1, shape.row_leaves, " leaves of rows: at least 1");
  TESSERA_REQUIRE(shape.cols % (2 * shape.k_leaves) == 0, shape.cols, " columns in ",
                  shape.k_leaves, " leaves of even length");
  const std::int64_t parts = std::int64_t{shape.row_leaves} * (shape.gated ? 2 : 1);
  TESSERA_REQUIRE(shape.rows % parts == 0, shape.rows, " rows in ", shape.row_leaves, " leaves",
                  shape.gated ? " of gate and up" : "");
}

void check_pack_rows(const PackShape& shape, std::int64_t first_row, const ConstMatrixView& rows) {
  require_floating("pack_rows: source", rows);
  TESSERA_REQUIRE(first_row >= 0 && first_row + rows.rows <= shape.rows && rows.cols <= shape.cols,
                  "pack_rows: ", rows.rows, " x ", rows.cols, " at row ", first_row, " of ",
                  shape.rows, " x ", shape.cols);
}

void check_gather_embeddings(const ConstMatrixView& table,
                             std::span<const TokenId> ids,
                             const MatrixView& out) {
  require_floating("gather_embeddings: table", table);
  require_shape("gather_embeddings: out", out, DType::kFloat32,
                static_cast<std::int64_t>(ids.size()), table.cols);
}

void check_gather_packed(const PackShape& table,
                         std::span<const TokenId> ids,
                         const MatrixView& out) {
  TESSERA_REQUIRE(table.k_leaves == 1 && !table.gated, "gather_embeddings: table of ",
                  table.k_leaves, " leaves");
  require_shape("gather_embeddings: out", out, DType::kFloat32,
                static_cast<std::int64_t>(ids.size()), table.cols);
}

void check_recipes(std::span<const RecipeRow> rows,
                   const ConstMatrixView& gathered,
                   const MatrixView& out) {
  require_matrix("apply_recipes: gathered", gathered, DType::kFloat32);
  require_matrix("apply_recipes: out", out, DType::kFloat32);
  TESSERA_REQUIRE(gathered.cols == out.cols, "apply_recipes: ", gathered.cols, " and ", out.cols,
                  " columns");
  for (const RecipeRow& row : rows) {
    TESSERA_REQUIRE(row.recipe != nullptr && row.recipe->num_ids >= 1 &&
                        row.recipe->num_ids <= EmbeddingRecipe::kMaxIds,
                    "apply_recipes: recipe without 1 to ", EmbeddingRecipe::kMaxIds, " ids");
    TESSERA_REQUIRE(row.first_gathered >= 0 &&
                        row.first_gathered + row.recipe->num_ids < gathered.rows &&
                        row.out_row >= 0 && row.out_row < out.rows,
                    "apply_recipes: gathered row ", row.first_gathered, " of ", gathered.rows,
                    ", output row ", row.out_row, " of ", out.rows);
  }
}

void check_rms_norm(const ConstMatrixView& x,
                    std::span<const float> weight,
                    const MatrixView& out,
                    DType activation) {
  require_matrix("rms_norm: x", x, DType::kFloat32);
  require_shape("rms_norm: out", out, activation, x.rows, x.cols);
  require_length("rms_norm: weight", weight.size(), x.cols);
}

void check_rms_norm_once(const ConstMatrixView& x,
                         std::span<const float> weight,
                         const MatrixView& out,
                         DType activation) {
  require_matrix("rms_norm_once: x", x, DType::kFloat32);
  require_shape("rms_norm_once: out", out,
                out.dtype == DType::kFloat32 ? DType::kFloat32 : activation, x.rows, x.cols);
  if (!weight.empty()) require_length("rms_norm_once: weight", weight.size(), x.cols);
}

void check_scale(const MatrixView& x) {
  require_matrix("scale: x", x, DType::kFloat32);
}

void check_same_shape(const char* operation, const MatrixView& out, const ConstMatrixView& x) {
  require_matrix(operation, out, DType::kFloat32);
  require_shape(operation, x, DType::kFloat32, out.rows, out.cols);
}

void check_act_mul(const ConstMatrixView& gate_up, const MatrixView& out, DType activation) {
  require_matrix("act_mul: out", out, activation);
  require_shape("act_mul: gate_up", gate_up, DType::kFloat32, out.rows, 2 * out.cols);
}

void check_gather_rows(const ConstMatrixView& x,
                       std::span<const std::int64_t> rows,
                       const MatrixView& out) {
  require_matrix("gather_rows: x", x, DType::kFloat32);
  require_shape("gather_rows: out", out, DType::kFloat32, static_cast<std::int64_t>(rows.size()),
                x.cols);
  for (const std::int64_t row : rows) {
    TESSERA_REQUIRE(row >= 0 && row < x.rows, "gather_rows: row ", row, " of ", x.rows);
  }
}

void check_sum_parts(const ConstMatrixView& parts, std::span<const float> out) {
  TESSERA_REQUIRE(is_leaf_count(static_cast<std::int32_t>(parts.rows)), "sum_parts: ", parts.rows,
                  " parts; allowed: 1, 2, 4, 8");
  require_shape("sum_parts: parts", parts, DType::kFloat32, parts.rows,
                static_cast<std::int64_t>(out.size()));
}

void check_qkv(const QkvArgs& args, DType activation, DType cache) {
  require_pages(args.pages);
  const std::int64_t head_dim = args.pages.head_dim;
  const std::int64_t rows = args.qkv.rows;
  const std::int64_t kv_cols = args.pages.num_kv_heads * head_dim;
  TESSERA_REQUIRE(args.num_q_heads > 0, "qk_norm_rope_store: ", args.num_q_heads, " query heads");
  const std::int64_t q_cols = args.num_q_heads * head_dim;
  const std::int64_t cols = q_cols + (args.value_from_key ? 1 : 2) * kv_cols;
  require_shape("qk_norm_rope_store: qkv", args.qkv, DType::kFloat32, rows, cols);
  require_shape("qk_norm_rope_store: q", args.q, activation, rows, q_cols);
  require_shape("qk_norm_rope_store: k", args.k, cache, rows, kv_cols);
  require_shape("qk_norm_rope_store: v", args.v, cache, rows, kv_cols);
  if (!args.bias.empty()) require_length("bias", args.bias.size(), cols);
  if (!args.q_norm.empty()) require_length("q_norm", args.q_norm.size(), head_dim);
  if (!args.k_norm.empty()) require_length("k_norm", args.k_norm.size(), head_dim);
  require_matrix("qk_norm_rope_store: rope", args.rope, DType::kFloat32);
  TESSERA_REQUIRE(args.rope.cols % 2 == 0 && args.rope.cols <= head_dim, "rotary width ",
                  args.rope.cols, " of ", head_dim);
  require_length("positions", args.positions.size(), rows);
  require_length("slots", args.slots.size(), rows);
  const std::int64_t num_slots = std::int64_t{args.pages.num_pages} * args.pages.page_size;
  for (std::int64_t row = 0; row < rows; ++row) {
    const auto i = static_cast<std::size_t>(row);
    TESSERA_REQUIRE(
        args.positions[i] >= 0 && (args.rope.cols == 0 || args.positions[i] < args.rope.rows),
        "position ", args.positions[i], " beyond the rope table of ", args.rope.rows);
    TESSERA_REQUIRE(args.slots[i] >= -1 && args.slots[i] < num_slots, "slot ", args.slots[i],
                    " of ", num_slots);
  }
}

void check_attention(const AttentionArgs& args, DType activation, DType cache) {
  require_pages(args.pages);
  const std::int64_t head_dim = args.pages.head_dim;
  TESSERA_REQUIRE(args.num_q_heads > 0 && args.num_q_heads % args.pages.num_kv_heads == 0,
                  args.num_q_heads, " query heads over ", args.pages.num_kv_heads, " KV heads");
  const std::int64_t kv_cols = args.pages.num_kv_heads * head_dim;
  require_shape("block_attention: q", args.q, activation, args.out.rows,
                args.num_q_heads * head_dim);
  require_shape("block_attention: out", args.out, activation, args.out.rows,
                args.num_q_heads * head_dim);
  require_shape("block_attention: k", args.k, cache, args.out.rows, kv_cols);
  require_shape("block_attention: v", args.v, cache, args.out.rows, kv_cols);
  TESSERA_REQUIRE(args.window >= 0, "block_attention: window ", args.window);
  for (const AttentionSpan& span : args.spans) require_span(args, span);
}

void check_gemm(const ConstMatrixView& a,
                const PackShape& w,
                const MatrixView& c,
                DType activation) {
  require_matrix("gemm: a", a, activation);
  TESSERA_REQUIRE(a.cols == w.cols, "gemm: a has ", a.cols, " columns, the weights ", w.cols);
  TESSERA_REQUIRE(!w.gated, "gemm: gate and up of experts");
  require_shape("gemm: c", c, DType::kFloat32, a.rows, w.rows);
}

void check_measure(const ConstMatrixView& hidden,
                   const PackShape& lm_head,
                   std::span<const Measure> measures,
                   std::int64_t out_rows,
                   DType activation) {
  TESSERA_REQUIRE(lm_head.k_leaves == 1, "measure: LM head of ", lm_head.k_leaves, " K leaves");
  TESSERA_REQUIRE(is_leaf_count(lm_head.row_leaves) && !lm_head.gated, "measure: LM head of ",
                  lm_head.row_leaves, " row leaves: 1, 2, 4 or 8");
  require_shape("measure: hidden", hidden, activation, static_cast<std::int64_t>(measures.size()),
                lm_head.cols);
  require_length("measure: output", static_cast<std::size_t>(out_rows), hidden.rows);
  for (const Measure& measure : measures) {
    TESSERA_REQUIRE(measure.temperature >= 0.0F, "measure: temperature ", measure.temperature);
  }
}

void check_measure_logits(const ConstMatrixView& logits,
                          const PackShape& lm_head,
                          std::span<const Measure> measures,
                          std::int64_t num_partials) {
  require_shape("measure_logits: logits", logits, DType::kFloat32,
                static_cast<std::int64_t>(measures.size()), lm_head.rows);
  require_length("measure_logits: output", static_cast<std::size_t>(num_partials), logits.rows);
  for (const Measure& measure : measures) {
    TESSERA_REQUIRE(measure.temperature >= 0.0F, "measure_logits: temperature ",
                    measure.temperature);
  }
}

void check_soft_embedding(const SoftEmbeddingArgs& args, std::int64_t workspace_bytes) {
  const PackShape& table = args.table->shape();
  TESSERA_REQUIRE(table.k_leaves == 1 && table.rows / table.row_leaves % 2 == 0,
                  "soft_embedding: table of ", table.k_leaves, " K leaves, ",
                  table.rows / table.row_leaves, " ids in a leaf: one, and an even number");
  require_shape("soft_embedding: logits", args.logits, DType::kFloat32, args.out.rows, table.rows);
  require_shape("soft_embedding: out", args.out, DType::kFloat32, args.logits.rows, table.cols);
  require_length("soft_embedding: partials", args.partials.size(), args.logits.rows);
  TESSERA_REQUIRE(static_cast<std::int64_t>(args.workspace.size()) >= workspace_bytes,
                  "soft_embedding: workspace of ", args.workspace.size(), " bytes, needs ",
                  workspace_bytes);
  for (const MeasurePartial& partial : args.partials) {
    TESSERA_REQUIRE(partial.temperature > 0.0F && partial.tempered_sum > 0.0,
                    "soft_embedding: temperature ", partial.temperature, ", sum ",
                    partial.tempered_sum);
  }
}

}  // namespace tessera::kernels
