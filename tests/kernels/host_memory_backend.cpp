#include "tests/kernels/host_memory_backend.h"

#include <algorithm>
#include <vector>

#include "kernels/host_backend.h"

namespace tessera::kernels {
namespace {

// The device copies of one operation's arguments. Destroyed, it copies back what may have changed.
class Mirror {
 public:
  explicit Mirror(Backend& device) : device_(device) {}
  Mirror(const Mirror&) = delete;
  Mirror& operator=(const Mirror&) = delete;

  void* in(const void* host, std::int64_t num_bytes) {
    if (host == nullptr || num_bytes == 0) return nullptr;
    Buffer& buffer = buffers_.emplace_back(device_.allocate(num_bytes));
    device_.upload(host, buffer.data(), num_bytes);
    return buffer.data();
  }
  void* out(void* host, std::int64_t num_bytes) {
    void* device = in(host, num_bytes);
    if (device != nullptr) written_.push_back({device, host, num_bytes});
    return device;
  }

  ConstMatrixView in(ConstMatrixView view) {
    view.data = in(view.data, num_bytes(view));
    return view;
  }
  MatrixView out(MatrixView view) {
    view.data = out(view.data, num_bytes(view));
    return view;
  }
  template <typename T>
  std::span<const T> in(std::span<const T> values) {
    return {
        static_cast<const T*>(in(values.data(), static_cast<std::int64_t>(values.size_bytes()))),
        values.size()};
  }
  template <typename T>
  std::span<T> out(std::span<T> values) {
    return {static_cast<T*>(out(values.data(), static_cast<std::int64_t>(values.size_bytes()))),
            values.size()};
  }
  KvPages out(KvPages pages) {
    const std::int64_t bytes = std::int64_t{pages.num_pages} * pages.page_size *
                               pages.num_kv_heads * pages.head_dim * size_of(device_.cache_dtype());
    pages.k = out(pages.k, bytes);
    pages.v = out(pages.v, bytes);
    return pages;
  }

  void copy_back() {
    for (const Written& w : written_) device_.download(w.device, w.host, w.num_bytes);
  }

 private:
  struct Written {
    const void* device;
    void* host;
    std::int64_t num_bytes;
  };

  // The padding behind the last row is not part of a view.
  static std::int64_t num_bytes(const ConstMatrixView& view) {
    if (view.rows == 0) return 0;
    return ((view.rows - 1) * view.row_stride + view.cols) * size_of(view.dtype);
  }

  Backend& device_;
  std::vector<Buffer> buffers_;
  std::vector<Written> written_;
};

class HostMemoryBackend final : public HostBackend {
 public:
  explicit HostMemoryBackend(std::unique_ptr<Backend> device) : device_(std::move(device)) {}

  std::string_view device_name() const override { return device_->device_name(); }
  DType activation_dtype() const override { return device_->activation_dtype(); }
  DType cache_dtype() const override { return device_->cache_dtype(); }
  std::unique_ptr<PackedMatrix> create_packed(const PackShape& shape) override {
    return device_->create_packed(shape);
  }
  void pack_rows(PackedMatrix& matrix, std::int64_t first_row, ConstMatrixView rows) override {
    device_->pack_rows(matrix, first_row, rows);
  }

  void gather_embeddings(ConstMatrixView table,
                         TokenId first_id,
                         std::span<const TokenId> ids,
                         MatrixView out) override {
    mirrored(
        [&](Mirror& m) { device_->gather_embeddings(m.in(table), first_id, ids, m.out(out)); });
  }
  void gather_embeddings(const PackedMatrix& table,
                         TokenId first_id,
                         std::span<const TokenId> ids,
                         MatrixView out) override {
    mirrored([&](Mirror& m) { device_->gather_embeddings(table, first_id, ids, m.out(out)); });
  }
  void apply_recipes(std::span<const RecipeRow> rows,
                     ConstMatrixView gathered,
                     MatrixView out) override {
    mirrored([&](Mirror& m) { device_->apply_recipes(rows, m.in(gathered), m.out(out)); });
  }
  void rms_norm(ConstMatrixView x,
                std::span<const float> weight,
                float eps,
                MatrixView out) override {
    mirrored([&](Mirror& m) { device_->rms_norm(m.in(x), m.in(weight), eps, m.out(out)); });
  }
  void add_rms_norm(MatrixView residual,
                    ConstMatrixView delta,
                    std::span<const float> weight,
                    float eps,
                    MatrixView out) override {
    mirrored([&](Mirror& m) {
      device_->add_rms_norm(m.out(residual), m.in(delta), m.in(weight), eps, m.out(out));
    });
  }
  void rms_norm_once(ConstMatrixView x,
                     std::span<const float> weight,
                     float eps,
                     MatrixView out) override {
    mirrored([&](Mirror& m) {
      // May be one matrix.
      const MatrixView to = m.out(out);
      const ConstMatrixView from = x.data == out.data ? ConstMatrixView(to) : m.in(x);
      device_->rms_norm_once(from, m.in(weight), eps, to);
    });
  }
  void scale(MatrixView x, float factor) override {
    mirrored([&](Mirror& m) { device_->scale(m.out(x), factor); });
  }
  void act_mul(Activation activation, ConstMatrixView gate_up, MatrixView out) override {
    mirrored([&](Mirror& m) { device_->act_mul(activation, m.in(gate_up), m.out(out)); });
  }
  void add(MatrixView sum, ConstMatrixView x) override {
    mirrored([&](Mirror& m) { device_->add(m.out(sum), m.in(x)); });
  }
  void gather_rows(ConstMatrixView x, std::span<const std::int64_t> rows, MatrixView out) override {
    mirrored([&](Mirror& m) { device_->gather_rows(m.in(x), rows, m.out(out)); });
  }

  void sum_parts(ConstMatrixView parts, std::span<float> to) override {
    mirrored([&](Mirror& m) { device_->sum_parts(m.in(parts), m.out(to)); });
  }

  void qk_norm_rope_store(const QkvArgs& host) override {
    mirrored([&](Mirror& m) {
      QkvArgs args = host;
      args.qkv = m.in(host.qkv);
      args.bias = m.in(host.bias);
      args.q_norm = m.in(host.q_norm);
      args.k_norm = m.in(host.k_norm);
      args.rope = m.in(host.rope);
      args.q = m.out(host.q);
      args.k = m.out(host.k);
      args.v = m.out(host.v);
      args.pages = m.out(host.pages);
      device_->qk_norm_rope_store(args);
    });
  }

  void block_attention(const AttentionArgs& host) override {
    mirrored([&](Mirror& m) {
      AttentionArgs args = host;
      args.q = m.in(host.q);
      args.k = m.in(host.k);
      args.v = m.in(host.v);
      args.pages = m.out(host.pages);
      args.out = m.out(host.out);
      device_->block_attention(args);
    });
  }

  void gemm(ConstMatrixView a, const PackedMatrix& w, MatrixView c) override {
    mirrored([&](Mirror& m) { device_->gemm(m.in(a), w, m.out(c)); });
  }

  void moe_route(const RouteArgs& host) override {
    mirrored([&](Mirror& m) {
      RouteArgs args = host;
      args.logits = m.in(host.logits);
      args.bias = m.in(host.bias);
      args.expert_scale = m.in(host.expert_scale);
      args.experts = m.out(host.experts);
      args.weights = m.out(host.weights);
      device_->moe_route(args);
    });
  }
  std::int64_t moe_workspace_bytes(const ExpertWeights& weights,
                                   std::int32_t experts_per_token,
                                   std::int64_t num_rows) const override {
    return device_->moe_workspace_bytes(weights, experts_per_token, num_rows);
  }
  void moe_experts(const MoeArgs& host) override {
    mirrored([&](Mirror& m) {
      MoeArgs args = host;
      args.x = m.in(host.x);
      args.experts = m.in(host.experts);
      args.expert_weights = m.in(host.expert_weights);
      args.workspace = m.out(host.workspace);
      args.out = m.out(host.out);
      device_->moe_experts(args);
    });
  }

  std::int64_t measure_workspace_bytes(const PackedMatrix& lm_head,
                                       std::int64_t num_rows) const override {
    return device_->measure_workspace_bytes(lm_head, num_rows);
  }
  void measure(ConstMatrixView hidden,
               const PackedMatrix& lm_head,
               const VocabularyShard& vocabulary,
               std::span<const Measure> measures,
               std::span<std::byte> workspace,
               std::span<MeasurePartial> partials) override {
    mirrored([&](Mirror& m) {
      device_->measure(m.in(hidden), lm_head, vocabulary, measures, m.out(workspace),
                       m.out(partials));
    });
  }
  void logits(ConstMatrixView hidden,
              const PackedMatrix& lm_head,
              const VocabularyShard& vocabulary,
              std::span<const Measure> measures,
              MatrixView logits) override {
    mirrored([&](Mirror& m) {
      device_->logits(m.in(hidden), lm_head, vocabulary, measures, m.out(logits));
    });
  }

  void logit_statistics(const StoredLogits& logits,
                        std::span<const Measure> measures,
                        std::span<LogitStatistics> statistics) override {
    mirrored([&](Mirror& m) { device_->logit_statistics(out(m, logits), measures, statistics); });
  }
  void count_digits(const StoredLogits& logits,
                    std::span<const DigitQuery> queries,
                    std::span<DigitBin> bins) override {
    mirrored([&](Mirror& m) { device_->count_digits(out(m, logits), queries, bins); });
  }
  void drop_logits(const StoredLogits& logits, std::span<const LogitKey> cuts) override {
    mirrored([&](Mirror& m) { device_->drop_logits(out(m, logits), cuts); });
  }

  void measure_logits(ConstMatrixView logits,
                      const PackedMatrix& lm_head,
                      TokenId first_id,
                      std::span<const Measure> measures,
                      std::span<std::byte> workspace,
                      std::span<MeasurePartial> partials) override {
    mirrored([&](Mirror& m) {
      device_->measure_logits(m.in(logits), lm_head, first_id, measures, m.out(workspace),
                              m.out(partials));
    });
  }
  std::int64_t soft_embedding_workspace_bytes(const PackedMatrix& table,
                                              std::int64_t num_rows) const override {
    return device_->soft_embedding_workspace_bytes(table, num_rows);
  }
  void soft_embedding(const SoftEmbeddingArgs& host) override {
    mirrored([&](Mirror& m) {
      SoftEmbeddingArgs args = host;
      args.logits = m.in(host.logits);
      args.workspace = m.out(host.workspace);
      args.out = m.out(host.out);
      device_->soft_embedding(args);
    });
  }

 private:
  static StoredLogits out(Mirror& mirror, StoredLogits logits) {
    logits.rows = mirror.out(logits.rows);
    return logits;
  }

  // Views that share memory must not be copied back over each other: they do not, in an operation.
  template <typename Run>
  void mirrored(const Run& run) {
    Mirror mirror(*device_);
    run(mirror);
    mirror.copy_back();
  }

  std::unique_ptr<Backend> device_;
};

}  // namespace

std::unique_ptr<Backend> with_host_memory(std::unique_ptr<Backend> device) {
  return std::make_unique<HostMemoryBackend>(std::move(device));
}

}  // namespace tessera::kernels
