#include "kernels/cuda/cuda_backend.h"

#include <algorithm>
#include <string>

#include "common/base/error.h"
#include "kernels/convert.h"
#include "kernels/cuda/attention/block_attention.h"
#include "kernels/cuda/attention/step_plans.h"
#include "kernels/cuda/base/context.h"
#include "kernels/cuda/base/cuda_matrix.h"
#include "kernels/cuda/embedding/embedding.h"
#include "kernels/cuda/gemm/gemm.h"
#include "kernels/cuda/measure/filter_rows.h"
#include "kernels/cuda/measure/measure.h"
#include "kernels/cuda/measure/soft_embedding.h"
#include "kernels/cuda/moe/moe.h"
#include "kernels/cuda/qkv/qkv_rows.h"
#include "kernels/cuda/rows/row_ops.h"
#include "kernels/op_checks.h"

namespace tessera::kernels::cuda {
namespace {

constexpr std::int64_t kPackBytes = 4 << 20;  // packed on the host before they are copied

class CudaStepGraph final : public StepGraph {
 public:
  CudaStepGraph(std::unique_ptr<Graph> graph, Context& context)
      : graph_(std::move(graph)), context_(context), layout_(context.step_arrays().layout()) {}

  void launch() override {
    TESSERA_CHECK(context_.step_arrays().layout() == layout_,
                  "the arrays of the step do not lie where its graph expects them");
    graph_->launch(context_.stream());
  }

 private:
  std::unique_ptr<Graph> graph_;
  Context& context_;
  std::uint64_t layout_;
};

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(const CudaOptions& options)
      : context_(options.deterministic),
        name_(detail::concat("cuda sm_",
                             context_.device().compute_capability,
                             options.deterministic ? " deterministic" : "")),
        device_(context_.device().name) {}

  std::string_view device_name() const override { return name_; }
  DType activation_dtype() const override { return DType::kBFloat16; }
  DType cache_dtype() const override { return DType::kBFloat16; }

  Buffer allocate(std::int64_t num_bytes) override { return allocate_device(num_bytes); }

  void upload(const void* host, void* device, std::int64_t num_bytes) override {
    context_.copy(host, device, num_bytes);
  }

  void download(const void* device, void* host, std::int64_t num_bytes) override {
    context_.copy(device, host, num_bytes);
  }

  bool computes_in_host_memory() const override { return false; }
  std::int64_t memory_for_pages() const override {
    constexpr double kShare = 0.85;  // the rest is for workspaces
    return static_cast<std::int64_t>(kShare * static_cast<double>(free_device_bytes()));
  }

  void* native_stream() const override { return context_.stream(); }
  std::string_view physical_device() const override { return device_; }
  void watch_waits(std::function<void(std::chrono::milliseconds)> watch) override {
    context_.watch_waits(std::move(watch));
  }

  void reserve_step_arrays(std::int64_t num_bytes) override {
    context_.reserve_step_arrays(num_bytes);
  }
  StepArrays& begin_step_arrays() override { return context_.begin_step_arrays(); }
  void send_step_arrays() override { context_.send_step_arrays(); }

  // In deterministic mode the longest plan of attention has no useful bound.
  bool has_graphs() const override { return !context_.deterministic(); }
  std::unique_ptr<StepGraph> capture(const std::function<void()>& work) override {
    return std::make_unique<CudaStepGraph>(context_.capture(work), context_);
  }

  std::unique_ptr<PackedMatrix> create_packed(const PackShape& shape) override {
    check_shape(shape);
    return std::make_unique<CudaMatrix>(shape);
  }

  void pack_rows(PackedMatrix& matrix, std::int64_t first_row, ConstMatrixView rows) override {
    const CudaMatrix& own = cuda_matrix(matrix);
    check_pack_rows(own.shape(), first_row, rows);
    if (packing_.num_bytes() == 0) packing_ = allocate_pinned(kPackBytes);
    const std::int64_t stride = own.row_stride();
    const std::int64_t row_bytes = stride * static_cast<std::int64_t>(sizeof(Bf16));
    TESSERA_REQUIRE(row_bytes <= kPackBytes, "pack_rows: rows of ", rows.cols, " columns");
    const std::int64_t group = kPackBytes / std::max<std::int64_t>(1, row_bytes);
    for (std::int64_t row = 0; row < rows.rows; row += group) {
      const std::int64_t count = std::min(group, rows.rows - row);
      std::fill_n(packing_.as<std::uint16_t>(), count * stride, std::uint16_t{0});
      for (std::int64_t i = 0; i < count; ++i) {
        pack_row(own, rows.row(row + i), rows, packing_.as<std::uint16_t>() + i * stride);
      }
      upload(packing_.data(), own.data() + (first_row + row) * stride, count * row_bytes);
    }
  }

  void gather_embeddings(ConstMatrixView table,
                         TokenId first_id,
                         std::span<const TokenId> ids,
                         MatrixView out) override {
    cuda::gather_embeddings(context_, table, first_id, ids, out);
  }

  void gather_embeddings(const PackedMatrix& table,
                         TokenId first_id,
                         std::span<const TokenId> ids,
                         MatrixView out) override {
    const CudaMatrix& own = cuda_matrix(table);
    check_gather_packed(own.shape(), ids, out);
    const ConstMatrixView rows{own.data(), DType::kBFloat16, own.shape().rows, own.shape().cols,
                               own.row_stride()};
    cuda::gather_embeddings(context_, rows, first_id, ids, out);
  }

  void apply_recipes(std::span<const RecipeRow> rows,
                     ConstMatrixView gathered,
                     MatrixView out) override {
    cuda::apply_recipes(context_, rows, gathered, out);
  }

  void rms_norm(ConstMatrixView x,
                std::span<const float> weight,
                float eps,
                MatrixView out) override {
    cuda::rms_norm(context_, x, weight, eps, out);
  }

  void add_rms_norm(MatrixView residual,
                    ConstMatrixView delta,
                    std::span<const float> weight,
                    float eps,
                    MatrixView out) override {
    cuda::add_rms_norm(context_, residual, delta, weight, eps, out);
  }

  void rms_norm_once(ConstMatrixView x,
                     std::span<const float> weight,
                     float eps,
                     MatrixView out) override {
    cuda::rms_norm_once(context_, x, weight, eps, out);
  }

  void scale(MatrixView x, float factor) override { cuda::scale(context_, x, factor); }

  void act_mul(Activation activation, ConstMatrixView gate_up, MatrixView out) override {
    cuda::act_mul(context_, activation, gate_up, out);
  }

  void add(MatrixView sum, ConstMatrixView x) override { cuda::add(context_, sum, x); }

  void gather_rows(ConstMatrixView x, std::span<const std::int64_t> rows, MatrixView out) override {
    cuda::gather_rows(context_, x, rows, out);
  }

  void sum_parts(ConstMatrixView parts, std::span<float> out) override {
    cuda::sum_parts(context_, parts, out);
  }

  void qk_norm_rope_store(const QkvArgs& args) override {
    cuda::qk_norm_rope_store(context_, args);
  }

  std::int64_t reserve_attention_plans(std::span<const AttentionArgs> kinds,
                                       const AttentionRoom& room) override {
    return plans_.reserve(context_, kinds, room);
  }
  void plan_attention(std::span<const AttentionArgs> kinds, const AttentionRoom* room) override {
    plans_.make(context_, kinds, room);
  }

  void block_attention(const AttentionArgs& args) override {
    if (args.plan < 0) return cuda::block_attention(context_, args);
    check_attention(args, DType::kBFloat16, DType::kBFloat16);
    launch_attention(context_, args, plans_.staged(context_, args.plan));
  }

  void gemm(ConstMatrixView a, const PackedMatrix& w, MatrixView c) override {
    cuda::gemm(context_, a, cuda_matrix(w), c);
  }

  void moe_route(const RouteArgs& args) override { cuda::moe_route(context_, args); }

  std::int64_t moe_workspace_bytes(const ExpertWeights& weights,
                                   std::int32_t experts_per_token,
                                   std::int64_t num_rows) const override {
    return cuda::moe_workspace_bytes(context_, weights, experts_per_token, num_rows);
  }

  void moe_experts(const MoeArgs& args) override { cuda::moe_experts(context_, args); }

  std::int64_t measure_workspace_bytes(const PackedMatrix& lm_head,
                                       std::int64_t num_rows) const override {
    return cuda::measure_workspace_bytes(cuda_matrix(lm_head), num_rows);
  }

  void measure(ConstMatrixView hidden,
               const PackedMatrix& lm_head,
               const VocabularyShard& vocabulary,
               std::span<const Measure> measures,
               std::span<std::byte> workspace,
               std::span<MeasurePartial> partials) override {
    cuda::measure(context_, hidden, cuda_matrix(lm_head), vocabulary, measures, workspace,
                  partials);
  }

  void logits(ConstMatrixView hidden,
              const PackedMatrix& lm_head,
              const VocabularyShard& vocabulary,
              std::span<const Measure> measures,
              MatrixView logits) override {
    cuda::logits(context_, hidden, cuda_matrix(lm_head), vocabulary, measures, logits);
  }

  void logit_statistics(const StoredLogits& logits,
                        std::span<const Measure> measures,
                        std::span<LogitStatistics> statistics) override {
    cuda::logit_statistics(context_, logits, measures, statistics);
  }
  void count_digits(const StoredLogits& logits,
                    std::span<const DigitQuery> queries,
                    std::span<DigitBin> bins) override {
    cuda::count_digits(context_, logits, queries, bins);
  }
  void drop_logits(const StoredLogits& logits, std::span<const LogitKey> cuts) override {
    cuda::drop_logits(context_, logits, cuts);
  }

  void measure_logits(ConstMatrixView logits,
                      const PackedMatrix& lm_head,
                      TokenId first_id,
                      std::span<const Measure> measures,
                      std::span<std::byte> workspace,
                      std::span<MeasurePartial> partials) override {
    cuda::measure_logits(context_, logits, cuda_matrix(lm_head), first_id, measures, workspace,
                         partials);
  }

  std::int64_t soft_embedding_workspace_bytes(const PackedMatrix& table,
                                              std::int64_t num_rows) const override {
    return cuda::soft_embedding_workspace_bytes(cuda_matrix(table), num_rows);
  }

  void soft_embedding(const SoftEmbeddingArgs& args) override {
    TESSERA_REQUIRE(args.table != nullptr, "soft_embedding: no table");
    cuda::soft_embedding(context_, args, cuda_matrix(*args.table));
  }

 private:
  static void pack_row(const CudaMatrix& own,
                       const void* row,
                       const ConstMatrixView& rows,
                       std::uint16_t* packed) {
    if (rows.dtype == DType::kBFloat16 && own.shape().k_leaves == 1) {
      std::copy_n(static_cast<const std::uint16_t*>(row), rows.cols, packed);
      return;
    }
    for (std::int64_t col = 0; col < rows.cols; ++col) {
      packed[own.offset(col)] = bfloat16_of_float(load_element(row, rows.dtype, col));
    }
  }

  Context context_;
  StepPlans plans_;
  std::string name_;
  std::string device_;
  Buffer packing_;
};

}  // namespace

std::unique_ptr<Backend> create_cuda_backend(const CudaOptions& options) {
  return std::make_unique<CudaBackend>(options);
}

}  // namespace tessera::kernels::cuda
