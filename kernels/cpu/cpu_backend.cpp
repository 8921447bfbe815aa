#include "kernels/cpu/cpu_backend.h"

#include <cstring>

#include "common/base/error.h"
#include "kernels/cpu/attention/cpu_attention.h"
#include "kernels/cpu/cpu_experts.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/cpu_matrix.h"
#include "kernels/cpu/cpu_products.h"
#include "kernels/cpu/cpu_soft_embedding.h"
#include "kernels/cpu/thread_team.h"
#include "kernels/cpu/tile_walk.h"
#include "kernels/host_backend.h"
#include "kernels/op_checks.h"

namespace tessera::kernels {
namespace {

constexpr DType kActivation = DType::kBFloat16;
constexpr DType kCache = DType::kBFloat16;
constexpr std::int64_t kAlignment = 64;

float* float_row(const MatrixView& view, std::int64_t row) {
  return static_cast<float*>(view.row(row));
}
const float* float_row(const ConstMatrixView& view, std::int64_t row) {
  return static_cast<const float*>(view.row(row));
}
std::uint16_t* bf16_row(const MatrixView& view, std::int64_t row) {
  return static_cast<std::uint16_t*>(view.row(row));
}

const CpuMatrix& cpu_matrix(const PackedMatrix& matrix) {
  const auto* own = dynamic_cast<const CpuMatrix*>(&matrix);
  TESSERA_REQUIRE(own != nullptr, "packed matrix of another back end");
  return *own;
}

class CpuBackend final : public HostBackend {
 public:
  explicit CpuBackend(const BackendOptions& options)
      : instruction_set_(select_instruction_set(options.instruction_set)),
        kernels_(cpu_kernels(instruction_set_)),
        team_(options.num_threads, options.cpus) {}

  std::string_view device_name() const override { return kernels_.device_name; }
  DType activation_dtype() const override { return kActivation; }
  DType cache_dtype() const override { return kCache; }

  std::unique_ptr<PackedMatrix> create_packed(const PackShape& shape) override {
    check_shape(shape);
    return std::make_unique<CpuMatrix>(shape);
  }

  void pack_rows(PackedMatrix& matrix, std::int64_t first_row, ConstMatrixView rows) override {
    const CpuMatrix& own = cpu_matrix(matrix);
    check_pack_rows(own.shape(), first_row, rows);
    const std::int64_t num_groups = round_up(rows.rows, kPanelWidth) / kPanelWidth;
    for_rows(num_groups, kPanelWidth * rows.cols, [&](std::int64_t begin, std::int64_t end) {
      pack_rows_cpu(own, first_row, rows, begin * kPanelWidth,
                    std::min(end * kPanelWidth, rows.rows));
    });
  }

  void gather_embeddings(ConstMatrixView table,
                         TokenId first_id,
                         std::span<const TokenId> ids,
                         MatrixView out) override {
    check_gather_embeddings(table, ids, out);
    gather(table.rows, first_id, ids, out, [&](std::int64_t row, float* result) {
      kernels_.widen(table.row(row), table.dtype, table.cols, result);
    });
  }

  void gather_embeddings(const PackedMatrix& table,
                         TokenId first_id,
                         std::span<const TokenId> ids,
                         MatrixView out) override {
    const CpuMatrix& own = cpu_matrix(table);
    check_gather_packed(own.shape(), ids, out);
    gather(own.shape().rows, first_id, ids, out,
           [&](std::int64_t row, float* result) { unpack_row_cpu(own, row, result); });
  }

  void apply_recipes(std::span<const RecipeRow> rows,
                     ConstMatrixView gathered,
                     MatrixView out) override {
    check_recipes(rows, gathered, out);
    each_row(static_cast<std::int64_t>(rows.size()), out.cols, [&](std::int64_t i) {
      const RecipeRow& row = rows[static_cast<std::size_t>(i)];
      kernels_.apply_recipe(row, gathered, float_row(out, row.out_row));
    });
  }

  void rms_norm(ConstMatrixView x,
                std::span<const float> weight,
                float eps,
                MatrixView out) override {
    check_rms_norm(x, weight, out, kActivation);
    each_row(x.rows, x.cols, [&](std::int64_t row) {
      kernels_.rms_norm(float_row(x, row), weight, eps, bf16_row(out, row));
    });
  }

  void add_rms_norm(MatrixView residual,
                    ConstMatrixView delta,
                    std::span<const float> weight,
                    float eps,
                    MatrixView out) override {
    check_rms_norm(residual, weight, out, kActivation);
    check_same_shape("add_rms_norm", residual, delta);
    each_row(residual.rows, residual.cols, [&](std::int64_t row) {
      kernels_.add_rms_norm(float_row(residual, row), float_row(delta, row), weight, eps,
                            bf16_row(out, row));
    });
  }

  void rms_norm_once(ConstMatrixView x,
                     std::span<const float> weight,
                     float eps,
                     MatrixView out) override {
    check_rms_norm_once(x, weight, out, kActivation);
    const float* factors = weight.empty() ? nullptr : weight.data();
    each_row(x.rows, x.cols, [&](std::int64_t row) {
      if (out.dtype == DType::kFloat32) {
        kernels_.rms_norm_once(float_row(x, row), factors, x.cols, eps, float_row(out, row));
      } else {
        kernels_.rms_norm_once_bfloat16(float_row(x, row), factors, x.cols, eps,
                                        bf16_row(out, row));
      }
    });
  }

  void scale(MatrixView x, float factor) override {
    check_scale(x);
    each_row(x.rows, x.cols,
             [&](std::int64_t row) { kernels_.scale(float_row(x, row), factor, x.cols); });
  }

  void act_mul(Activation activation, ConstMatrixView gate_up, MatrixView out) override {
    check_act_mul(gate_up, out, kActivation);
    const auto gated = activation == Activation::kSilu ? kernels_.silu_mul : kernels_.gelu_mul;
    each_row(out.rows, gate_up.cols, [&](std::int64_t row) {
      const float* gate = float_row(gate_up, row);
      gated(gate, gate + out.cols, out.cols, bf16_row(out, row));
    });
  }

  void add(MatrixView sum, ConstMatrixView x) override {
    check_same_shape("add", sum, x);
    each_row(sum.rows, sum.cols, [&](std::int64_t row) {
      kernels_.add(float_row(sum, row), float_row(x, row), sum.cols);
    });
  }

  void gather_rows(ConstMatrixView x, std::span<const std::int64_t> rows, MatrixView out) override {
    check_gather_rows(x, rows, out);
    each_row(out.rows, out.cols, [&](std::int64_t i) {
      std::memcpy(out.row(i), x.row(rows[static_cast<std::size_t>(i)]),
                  static_cast<std::size_t>(x.cols) * sizeof(float));
    });
  }

  void qk_norm_rope_store(const QkvArgs& args) override {
    check_qkv(args, kActivation, kCache);
    const auto share = instruction_set_ == InstructionSet::kAvx512 ? &qk_norm_rope_store_avx512
                                                                   : &qk_norm_rope_store_avx2;
    team_.run([&](std::int32_t part) { share(args, part, team_.num_threads()); });
  }

  void block_attention(const AttentionArgs& args) override {
    check_attention(args, kActivation, kCache);
    const std::int64_t bytes = round_up(
        attention_scratch_bytes(args.num_q_heads, args.pages.num_kv_heads, args.pages.head_dim),
        kAlignment);
    // Grows in the first step of a model only.
    if (scratch_.num_bytes() < bytes * team_.num_threads()) {
      scratch_ = Buffer(bytes * team_.num_threads());
    }
    const auto share = instruction_set_ == InstructionSet::kAvx512 ? &block_attention_avx512
                                                                   : &block_attention_avx2;
    team_.run([&](std::int32_t part) {
      share(args, part, team_.num_threads(),
            {scratch_.as<std::byte>() + part * bytes, static_cast<std::size_t>(bytes)});
    });
  }

  void gemm(ConstMatrixView a, const PackedMatrix& w, MatrixView c) override {
    const CpuMatrix& own = cpu_matrix(w);
    check_gemm(a, own.shape(), c, kActivation);
    if (a.rows == 0) return;
    team_.run(
        [&](std::int32_t part) { gemm_share(kernels_, a, own, c, part, team_.num_threads()); });
  }

  void moe_route(const RouteArgs& args) override {
    check_route(args);
    for_rows(args.logits.rows, args.logits.cols * 32,
             [&](std::int64_t begin, std::int64_t end) { route_rows(args, begin, end); });
  }

  std::int64_t moe_workspace_bytes(const ExpertWeights& weights,
                                   std::int32_t experts_per_token,
                                   std::int64_t num_rows) const override {
    return CpuExperts::workspace_bytes(weights, experts_per_token, num_rows, team_.num_threads());
  }

  void moe_experts(const MoeArgs& args) override {
    check_moe(args, kActivation);
    check_expert_ids(args);
    if (args.x.rows > 0) CpuExperts(kernels_, team_, args).run();
  }

  std::int64_t measure_workspace_bytes(const PackedMatrix& lm_head,
                                       std::int64_t num_rows) const override {
    const std::int64_t num_chunks = num_rows * num_measure_chunks(cpu_matrix(lm_head));
    return num_chunks * static_cast<std::int64_t>(sizeof(MeasurePartial)) + kAlignment;
  }

  void measure(ConstMatrixView hidden,
               const PackedMatrix& lm_head,
               const VocabularyShard& vocabulary,
               std::span<const Measure> measures,
               std::span<std::byte> workspace,
               std::span<MeasurePartial> partials) override {
    const MeasureArgs args{hidden, cpu_matrix(lm_head), vocabulary, measures};
    check_measure(hidden, lm_head.shape(), measures, static_cast<std::int64_t>(partials.size()),
                  kActivation);
    if (hidden.rows == 0) return;
    const std::span<MeasurePartial> chunks = take_chunks(args.lm_head, hidden.rows, workspace);
    team_.run([&](std::int32_t part) {
      measure_share(kernels_, args, chunks, part, team_.num_threads());
    });
    merge(args.lm_head, chunks, partials);
  }

  void logits(ConstMatrixView hidden,
              const PackedMatrix& lm_head,
              const VocabularyShard& vocabulary,
              std::span<const Measure> measures,
              MatrixView logits) override {
    const MeasureArgs args{hidden, cpu_matrix(lm_head), vocabulary, measures};
    check_measure(hidden, lm_head.shape(), measures, logits.rows, kActivation);
    check_gemm(hidden, lm_head.shape(), logits, kActivation);
    if (hidden.rows == 0) return;
    team_.run([&](std::int32_t part) {
      logits_share(kernels_, args, logits, part, team_.num_threads());
    });
  }

  void measure_logits(ConstMatrixView logits,
                      const PackedMatrix& lm_head,
                      TokenId first_id,
                      std::span<const Measure> measures,
                      std::span<std::byte> workspace,
                      std::span<MeasurePartial> partials) override {
    const CpuMatrix& own = cpu_matrix(lm_head);
    check_measure_logits(logits, own.shape(), measures, static_cast<std::int64_t>(partials.size()));
    if (logits.rows == 0) return;
    const std::span<MeasurePartial> chunks = take_chunks(own, logits.rows, workspace);
    team_.run([&](std::int32_t part) {
      measure_logits_share(kernels_, logits, own, first_id, measures, chunks, part,
                           team_.num_threads());
    });
    merge(own, chunks, partials);
  }

  std::int64_t soft_embedding_workspace_bytes(const PackedMatrix& table,
                                              std::int64_t num_rows) const override {
    return soft_embedding_bytes(cpu_matrix(table), num_rows);
  }

  void soft_embedding(const SoftEmbeddingArgs& args) override {
    TESSERA_REQUIRE(args.table != nullptr, "soft_embedding: no table");
    const CpuMatrix& own = cpu_matrix(*args.table);
    check_soft_embedding(args, soft_embedding_bytes(own, args.out.rows));
    if (args.out.rows == 0) return;
    for_rows(args.out.rows, args.logits.cols, [&](std::int64_t begin, std::int64_t end) {
      soften_rows(kernels_, args, begin, end);
    });
    team_.run([&](std::int32_t part) {
      soft_embedding_share(kernels_, args, own, part, team_.num_threads());
    });
  }

 private:
  // Calls work(begin, end) for shares of the rows, on every thread if they are worth it.
  template <typename Work>
  void for_rows(std::int64_t num_rows, std::int64_t cols, const Work& work) {
    constexpr std::int64_t kWorthAThread = 16384;  // elements: some microseconds
    if (num_rows * cols < kWorthAThread) return work(0, num_rows);
    team_.run([&](std::int32_t part) {
      const Share share(num_rows, part, team_.num_threads());
      work(share.begin, share.end);
    });
  }

  template <typename Work>
  void each_row(std::int64_t num_rows, std::int64_t cols, const Work& work) {
    for_rows(num_rows, cols, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) work(row);
    });
  }

  // load(row, result) writes a row of the table that this rank holds.
  template <typename Load>
  void gather(std::int64_t num_rows,
              TokenId first_id,
              std::span<const TokenId> ids,
              const MatrixView& out,
              const Load& load) {
    each_row(out.rows, out.cols, [&](std::int64_t i) {
      const std::int64_t row = std::int64_t{ids[static_cast<std::size_t>(i)]} - first_id;
      float* result = float_row(out, i);
      if (row >= 0 && row < num_rows) {
        load(row, result);
      } else {
        std::fill_n(result, out.cols, 0.0F);
      }
    });
  }

  void merge(const CpuMatrix& lm_head,
             std::span<const MeasurePartial> chunks,
             std::span<MeasurePartial> partials) {
    for_rows(static_cast<std::int64_t>(partials.size()), num_measure_chunks(lm_head) * 64,
             [&](std::int64_t begin, std::int64_t end) {
               merge_chunks(lm_head, chunks, begin, end, partials);
             });
  }

  static std::span<MeasurePartial> take_chunks(const CpuMatrix& lm_head,
                                               std::int64_t num_rows,
                                               std::span<std::byte> workspace) {
    const auto count = static_cast<std::size_t>(num_rows * num_measure_chunks(lm_head));
    void* first = workspace.data();
    std::size_t space = workspace.size();
    const bool fits =
        std::align(kAlignment, count * sizeof(MeasurePartial), first, space) != nullptr;
    TESSERA_REQUIRE(fits, "measure: workspace of ", workspace.size(), " bytes for ", num_rows,
                    " rows: ask measure_workspace_bytes");
    auto* chunks = static_cast<MeasurePartial*>(first);
    std::uninitialized_default_construct_n(chunks, count);
    return {chunks, count};
  }

  InstructionSet instruction_set_;
  const CpuKernels& kernels_;
  ThreadTeam team_;
  Buffer scratch_;  // of attention, for every thread
};

}  // namespace

std::unique_ptr<Backend> create_cpu_backend(const BackendOptions& options) {
  return std::make_unique<CpuBackend>(options);
}

}  // namespace tessera::kernels
