#include "tests/kernels/attention_scene.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/convert.h"
#include "kernels/visibility.h"

namespace tessera::kernels {
namespace {

constexpr std::uint16_t kBait = 0xFFFF;  // a NaN
constexpr std::int64_t kPadding = 3;     // elements behind every row

std::size_t size_of_rows(std::int64_t rows, std::int64_t cols) {
  return static_cast<std::size_t>(rows * (cols + kPadding));
}

template <typename View, typename Elements>
View view_of(Elements& elements, std::int64_t rows, std::int64_t cols) {
  return {elements.data(), DType::kBFloat16, rows, cols, cols + kPadding};
}

}  // namespace

SceneSequence random_sequence(const SceneShape& shape, std::int32_t length, std::mt19937& rng) {
  std::normal_distribution<float> normal;
  const auto fill = [&](std::int32_t heads) {
    std::vector<std::uint16_t> values(static_cast<std::size_t>(length * heads * shape.head_dim));
    for (std::uint16_t& value : values) value = bfloat16_of_float(normal(rng));
    return values;
  };
  SceneSequence sequence;
  sequence.q = fill(shape.num_q_heads);
  sequence.k = fill(shape.num_kv_heads);
  sequence.v = fill(shape.num_kv_heads);
  return sequence;
}

AttentionScene::AttentionScene(const SceneShape& shape,
                               std::int32_t page_size,
                               std::span<const SceneSpan> spans,
                               std::uint32_t seed)
    : shape_(shape), page_size_(page_size) {
  for (const SceneSpan& span : spans) {
    spans_.push_back(span.rows);
    spans_.back().first_row = num_rows_;
    num_rows_ += span.rows.num_rows + 1;
    tables_.emplace_back((span.rows.cache_len + page_size - 1) / page_size);
    num_pages_ += static_cast<std::int32_t>(tables_.back().size()) + 1;
  }
  std::vector<PageId> ids(static_cast<std::size_t>(num_pages_));
  std::iota(ids.begin(), ids.end(), 0);
  std::mt19937 rng(seed);
  std::shuffle(ids.begin(), ids.end(), rng);
  const std::int64_t q_cols = std::int64_t{shape.num_q_heads} * shape.head_dim;
  const std::int64_t kv_cols = std::int64_t{shape.num_kv_heads} * shape.head_dim;
  q_.assign(size_of_rows(num_rows_, q_cols), kBait);
  k_.assign(size_of_rows(num_rows_, kv_cols), kBait);
  v_ = k_;
  out_ = q_;
  k_pages_.assign(static_cast<std::size_t>(num_pages_ * page_size * kv_cols), kBait);
  v_pages_ = k_pages_;
  for (std::size_t i = 0; i < spans.size(); ++i) {
    for (PageId& page : tables_[i]) {
      page = ids.back();
      ids.pop_back();
    }
    place_rows(spans[i], spans_[i]);
    fill_pages(spans[i], tables_[i]);
    spans_[i].page_table = tables_[i];
  }
}

void AttentionScene::place_rows(const SceneSpan& span, AttentionSpan& rows) {
  const auto copy = [&](const std::vector<std::uint16_t>& from, std::vector<std::uint16_t>& to,
                        std::int32_t heads) {
    const std::int64_t cols = std::int64_t{heads} * shape_.head_dim;
    for (std::int32_t row = 0; row < rows.num_rows; ++row) {
      std::copy_n(from.begin() + (rows.first + row) * cols, cols,
                  to.begin() + (rows.first_row + row) * (cols + kPadding));
    }
  };
  copy(span.sequence->q, q_, shape_.num_q_heads);
  if (rows.mask == MaskKind::kCacheOnly) return;
  copy(span.sequence->k, k_, shape_.num_kv_heads);
  copy(span.sequence->v, v_, shape_.num_kv_heads);
}

void AttentionScene::fill_pages(const SceneSpan& span, std::span<const PageId> table) {
  const std::int64_t cols = std::int64_t{shape_.num_kv_heads} * shape_.head_dim;
  for (Position p = 0; p < span.rows.cache_len; ++p) {
    if (span.rows.cache_hole.contains(p)) continue;
    const PageId page = table[static_cast<std::size_t>(p / page_size_)];
    const std::int64_t slot = std::int64_t{page} * page_size_ + p % page_size_;
    std::copy_n(span.sequence->k.begin() + p * cols, cols, k_pages_.begin() + slot * cols);
    std::copy_n(span.sequence->v.begin() + p * cols, cols, v_pages_.begin() + slot * cols);
  }
}

AttentionArgs AttentionScene::args(float scale, std::int32_t window) {
  const std::int64_t q_cols = std::int64_t{shape_.num_q_heads} * shape_.head_dim;
  const std::int64_t kv_cols = std::int64_t{shape_.num_kv_heads} * shape_.head_dim;
  AttentionArgs args;
  args.q = view_of<ConstMatrixView>(q_, num_rows_, q_cols);
  args.k = view_of<ConstMatrixView>(k_, num_rows_, kv_cols);
  args.v = view_of<ConstMatrixView>(v_, num_rows_, kv_cols);
  args.pages = {k_pages_.data(), v_pages_.data(),     num_pages_,
                page_size_,      shape_.num_kv_heads, shape_.head_dim};
  args.num_q_heads = shape_.num_q_heads;
  args.scale = scale;
  args.window = window;
  args.spans = spans_;
  args.out = view_of<MatrixView>(out_, num_rows_, q_cols);
  return args;
}

std::span<const std::uint16_t> AttentionScene::out(std::size_t span, std::int32_t row) const {
  const auto cols = static_cast<std::size_t>(shape_.num_q_heads * shape_.head_dim);
  const auto at = static_cast<std::size_t>(spans_[span].first_row + row);
  return std::span(out_).subspan(at * (cols + kPadding), cols);
}

bool AttentionScene::bait_untouched() const {
  std::vector<std::uint16_t> rest = out_;
  const auto cols = static_cast<std::size_t>(shape_.num_q_heads * shape_.head_dim);
  for (const AttentionSpan& span : spans_) {
    for (std::int32_t row = 0; row < span.num_rows; ++row) {
      const auto at = static_cast<std::size_t>(span.first_row + row) * (cols + kPadding);
      std::fill_n(rest.begin() + static_cast<std::ptrdiff_t>(at), cols, kBait);
    }
  }
  return std::all_of(rest.begin(), rest.end(), [](std::uint16_t x) { return x == kBait; });
}

std::vector<ExactOutput> exact_attention(const SceneShape& shape,
                                         const SceneSpan& span,
                                         std::int32_t row,
                                         std::int32_t q_head,
                                         float scale,
                                         std::int32_t window) {
  const auto dim = static_cast<std::size_t>(shape.head_dim);
  const Position position = span.rows.first + row;
  const Visibility sees = visibility(span.rows, position, window);
  const std::int32_t kv_head = q_head / shape.group();
  const std::uint16_t* q = span.sequence->q.data() +
                           static_cast<std::size_t>(position * shape.num_q_heads + q_head) * dim;
  std::vector<ExactOutput> out(dim);
  std::vector<double> scores;
  std::vector<const std::uint16_t*> values;
  double terms = 0.0;
  for (Position p = 0; p < std::max(sees.cached.end, sees.fresh.end); ++p) {
    if (!sees.contains(p)) continue;
    const std::size_t at = static_cast<std::size_t>(p * shape.num_kv_heads + kv_head) * dim;
    double score = 0.0;
    double sizes = 0.0;
    for (std::size_t d = 0; d < dim; ++d) {
      const double product = double{float_of_bfloat16(q[d])} *
                             double{float_of_bfloat16(span.sequence->k[at + d])} * double{scale};
      score += product;
      sizes += std::abs(product);
    }
    scores.push_back(score);
    values.push_back(span.sequence->v.data() + at);
    terms = std::max(terms, sizes);
  }
  if (scores.empty()) return out;
  const double top = *std::max_element(scores.begin(), scores.end());
  double total = 0.0;
  for (double& score : scores) total += score = std::exp(score - top);
  for (std::size_t d = 0; d < dim; ++d) {
    ExactOutput& o = out[d];
    o.score_terms = terms;
    o.num_keys = static_cast<std::int32_t>(scores.size());
    for (std::size_t i = 0; i < scores.size(); ++i) {
      const double v = float_of_bfloat16(values[i][d]);
      o.value += scores[i] / total * v;
      o.magnitude += scores[i] / total * std::abs(v);
    }
    for (std::size_t i = 0; i < scores.size(); ++i) {
      o.spread += scores[i] / total * std::abs(float_of_bfloat16(values[i][d]) - o.value);
    }
  }
  return out;
}

}  // namespace tessera::kernels
