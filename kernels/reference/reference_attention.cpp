#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/reference/reference_ops.h"
#include "kernels/visibility.h"

namespace tessera::kernels {
namespace {

// One row and query head. Visits the visible positions in ascending order.
class RowAttention {
 public:
  RowAttention(const AttentionArgs& args, const AttentionSpan& span, std::int32_t row)
      : args_(args),
        span_(span),
        row_(span.first_row + row),
        sees_(visibility(span, span.first + row, args.window)) {}

  void run(std::int64_t q_head) const {
    const std::int64_t dim = args_.pages.head_dim;
    const std::int64_t kv_head = q_head / (args_.num_q_heads / args_.pages.num_kv_heads);
    const auto* q = static_cast<const float*>(args_.q.row(row_)) + q_head * dim;
    auto* out = static_cast<float*>(args_.out.row(row_)) + q_head * dim;
    double top = kMinusInfinity;
    for_each_key(kv_head, [&](const float* k, const float*) { top = std::max(top, score(q, k)); });
    std::array<double, 512> sums{};
    double total = 0.0;
    for_each_key(kv_head, [&](const float* k, const float* v) {
      const double weight = std::exp(score(q, k) - top);
      total += weight;
      for (std::int64_t j = 0; j < dim; ++j) {
        sums[static_cast<std::size_t>(j)] += weight * static_cast<double>(v[j]);
      }
    });
    for (std::int64_t j = 0; j < dim; ++j) {
      const double sum = sums[static_cast<std::size_t>(j)];
      out[j] = total > 0.0 ? static_cast<float>(sum / total) : 0.0F;
    }
  }

 private:
  double score(const float* q, const float* k) const {
    double sum = 0.0;
    for (std::int64_t j = 0; j < args_.pages.head_dim; ++j) {
      sum += static_cast<double>(q[j]) * static_cast<double>(k[j]);
    }
    return sum * static_cast<double>(args_.scale);
  }

  template <typename Visit>
  void for_each_key(std::int64_t kv_head, const Visit& visit) const {
    const KvPages& pages = args_.pages;
    const std::int64_t head = kv_head * pages.head_dim;
    for (Position p = sees_.cached.begin; p < sees_.cached.end; ++p) {
      if (sees_.hole.contains(p)) continue;
      const PageId page = span_.page_table[static_cast<std::size_t>(p / pages.page_size)];
      const std::int64_t slot = std::int64_t{page} * pages.page_size + p % pages.page_size;
      const std::int64_t offset = slot * pages.num_kv_heads * pages.head_dim + head;
      visit(static_cast<const float*>(pages.k) + offset,
            static_cast<const float*>(pages.v) + offset);
    }
    for (Position p = sees_.fresh.begin; p < sees_.fresh.end; ++p) {
      const std::int64_t row = span_.first_row + (p - span_.first);
      visit(static_cast<const float*>(args_.k.row(row)) + head,
            static_cast<const float*>(args_.v.row(row)) + head);
    }
  }

  const AttentionArgs& args_;
  const AttentionSpan& span_;
  std::int64_t row_;
  Visibility sees_;
};

}  // namespace

void block_attention_reference(const AttentionArgs& args) {
  for (const AttentionSpan& span : args.spans) {
    for (std::int32_t row = 0; row < span.num_rows; ++row) {
      const RowAttention attention(args, span, row);
      for (std::int32_t head = 0; head < args.num_q_heads; ++head) attention.run(head);
    }
  }
}

}  // namespace tessera::kernels
