#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "kernels/ops.h"

namespace tessera {

/// A back end that does what another does and keeps what it did inside a model: for comparison with
/// an independent implementation of its layers.
class RecordingBackend final : public kernels::Backend {
 public:
  /// Rows as fp32.
  struct Rows {
    std::int64_t cols = 0;
    std::vector<float> values;
  };
  struct Choice {
    std::vector<std::int32_t> experts;
    std::vector<float> weights;
  };

  explicit RecordingBackend(kernels::Backend& backend) : backend_(backend) {}

  void forget();
  std::int64_t allocated_bytes() const { return allocated_bytes_; }      ///< Ever.
  const std::vector<Rows>& scaled() const { return scaled_; }            ///< scale(): x afterwards
  const std::vector<Rows>& plain_norms() const { return plain_norms_; }  ///< without a weight
  const std::vector<Rows>& keys() const { return keys_; }                ///< qk_norm_rope_store()
  const std::vector<Rows>& values() const { return values_; }
  const std::vector<Choice>& choices() const { return choices_; }  ///< moe_route()

  std::string_view device_name() const override { return backend_.device_name(); }
  DType activation_dtype() const override { return backend_.activation_dtype(); }
  DType cache_dtype() const override { return backend_.cache_dtype(); }
  kernels::Buffer allocate(std::int64_t num_bytes) override {
    allocated_bytes_ += num_bytes;
    return backend_.allocate(num_bytes);
  }
  void upload(const void* host, void* device, std::int64_t num_bytes) override {
    backend_.upload(host, device, num_bytes);
  }
  void download(const void* device, void* host, std::int64_t num_bytes) override {
    backend_.download(device, host, num_bytes);
  }
  bool computes_in_host_memory() const override { return backend_.computes_in_host_memory(); }
  std::int64_t memory_for_pages() const override { return backend_.memory_for_pages(); }
  void* native_stream() const override { return backend_.native_stream(); }
  std::string_view physical_device() const override { return backend_.physical_device(); }
  void watch_waits(std::function<void(std::chrono::milliseconds)> watch) override {
    backend_.watch_waits(std::move(watch));
  }

  void reserve_step_arrays(std::int64_t num_bytes) override {
    backend_.reserve_step_arrays(num_bytes);
  }
  kernels::StepArrays& begin_step_arrays() override { return backend_.begin_step_arrays(); }
  void send_step_arrays() override { backend_.send_step_arrays(); }
  // What operations did is looked at when they are called.
  bool has_graphs() const override { return false; }
  std::unique_ptr<kernels::StepGraph> capture(const std::function<void()>& work) override {
    return backend_.capture(work);
  }
  std::int64_t reserve_attention_plans(std::span<const kernels::AttentionArgs> kinds,
                                       const kernels::AttentionRoom& room) override {
    return backend_.reserve_attention_plans(kinds, room);
  }
  void plan_attention(std::span<const kernels::AttentionArgs> kinds,
                      const kernels::AttentionRoom* room) override {
    backend_.plan_attention(kinds, room);
  }
  std::unique_ptr<kernels::PackedMatrix> create_packed(const kernels::PackShape& shape) override {
    return backend_.create_packed(shape);
  }
  void pack_rows(kernels::PackedMatrix& matrix,
                 std::int64_t first_row,
                 ConstMatrixView rows) override {
    backend_.pack_rows(matrix, first_row, rows);
  }
  void gather_embeddings(ConstMatrixView table,
                         TokenId first_id,
                         std::span<const TokenId> ids,
                         MatrixView out) override {
    backend_.gather_embeddings(table, first_id, ids, out);
  }
  void gather_embeddings(const kernels::PackedMatrix& table,
                         TokenId first_id,
                         std::span<const TokenId> ids,
                         MatrixView out) override {
    backend_.gather_embeddings(table, first_id, ids, out);
  }
  void apply_recipes(std::span<const kernels::RecipeRow> rows,
                     ConstMatrixView gathered,
                     MatrixView out) override {
    backend_.apply_recipes(rows, gathered, out);
  }
  void rms_norm(ConstMatrixView x,
                std::span<const float> weight,
                float eps,
                MatrixView out) override {
    backend_.rms_norm(x, weight, eps, out);
  }
  void add_rms_norm(MatrixView residual,
                    ConstMatrixView delta,
                    std::span<const float> weight,
                    float eps,
                    MatrixView out) override {
    backend_.add_rms_norm(residual, delta, weight, eps, out);
  }
  void rms_norm_once(ConstMatrixView x,
                     std::span<const float> weight,
                     float eps,
                     MatrixView out) override;
  void scale(MatrixView x, float factor) override;
  void act_mul(Activation activation, ConstMatrixView gate_up, MatrixView out) override {
    backend_.act_mul(activation, gate_up, out);
  }
  void add(MatrixView sum, ConstMatrixView x) override { backend_.add(sum, x); }
  void gather_rows(ConstMatrixView x, std::span<const std::int64_t> rows, MatrixView out) override {
    backend_.gather_rows(x, rows, out);
  }
  void sum_parts(ConstMatrixView parts, std::span<float> out) override {
    backend_.sum_parts(parts, out);
  }
  void qk_norm_rope_store(const kernels::QkvArgs& args) override;
  void block_attention(const kernels::AttentionArgs& args) override {
    backend_.block_attention(args);
  }
  void gemm(ConstMatrixView a, const kernels::PackedMatrix& w, MatrixView c) override {
    backend_.gemm(a, w, c);
  }
  void moe_route(const kernels::RouteArgs& args) override;
  std::int64_t moe_workspace_bytes(const kernels::ExpertWeights& weights,
                                   std::int32_t experts_per_token,
                                   std::int64_t num_rows) const override {
    return backend_.moe_workspace_bytes(weights, experts_per_token, num_rows);
  }
  void moe_experts(const kernels::MoeArgs& args) override { backend_.moe_experts(args); }
  std::int64_t measure_workspace_bytes(const kernels::PackedMatrix& lm_head,
                                       std::int64_t num_rows) const override {
    return backend_.measure_workspace_bytes(lm_head, num_rows);
  }
  void measure(ConstMatrixView hidden,
               const kernels::PackedMatrix& lm_head,
               const kernels::VocabularyShard& vocabulary,
               std::span<const Measure> measures,
               std::span<std::byte> workspace,
               std::span<kernels::MeasurePartial> partials) override {
    backend_.measure(hidden, lm_head, vocabulary, measures, workspace, partials);
  }
  void logits(ConstMatrixView hidden,
              const kernels::PackedMatrix& lm_head,
              const kernels::VocabularyShard& vocabulary,
              std::span<const Measure> measures,
              MatrixView logits) override {
    backend_.logits(hidden, lm_head, vocabulary, measures, logits);
  }
  void measure_logits(ConstMatrixView logits,
                      const kernels::PackedMatrix& lm_head,
                      TokenId first_id,
                      std::span<const Measure> measures,
                      std::span<std::byte> workspace,
                      std::span<kernels::MeasurePartial> partials) override {
    backend_.measure_logits(logits, lm_head, first_id, measures, workspace, partials);
  }
  std::int64_t soft_embedding_workspace_bytes(const kernels::PackedMatrix& table,
                                              std::int64_t num_rows) const override {
    return backend_.soft_embedding_workspace_bytes(table, num_rows);
  }
  void soft_embedding(const kernels::SoftEmbeddingArgs& args) override {
    backend_.soft_embedding(args);
  }
  void logit_statistics(const kernels::StoredLogits& logits,
                        std::span<const Measure> measures,
                        std::span<kernels::LogitStatistics> statistics) override {
    backend_.logit_statistics(logits, measures, statistics);
  }
  void count_digits(const kernels::StoredLogits& logits,
                    std::span<const kernels::DigitQuery> queries,
                    std::span<kernels::DigitBin> bins) override {
    backend_.count_digits(logits, queries, bins);
  }
  void drop_logits(const kernels::StoredLogits& logits,
                   std::span<const kernels::LogitKey> cuts) override {
    backend_.drop_logits(logits, cuts);
  }

 private:
  kernels::Backend& backend_;
  std::int64_t allocated_bytes_ = 0;
  std::vector<Rows> scaled_;
  std::vector<Rows> plain_norms_;
  std::vector<Rows> keys_;
  std::vector<Rows> values_;
  std::vector<Choice> choices_;
};

}  // namespace tessera
