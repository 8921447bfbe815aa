#include "tests/kernels/attention_scene.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/convert.h"
#include "kernels/visibility.h"

namespace tessera::kernels {
namespace {

constexpr std::uint16_t kBait = 0xFFFF;  // a NaN

// The mask kind walks through all of them with `index`.
AttentionSpan random_rows(int index, std::int32_t length, std::mt19937& rng) {
  AttentionSpan rows;
  rows.mask = static_cast<MaskKind>(index % 5);
  rows.mask_block = 1 << draw(rng, 0, 5);
  rows.num_rows = std::min(draw(rng, 1, 80), length);
  rows.first = draw(rng, 0, length - rows.num_rows) / rows.mask_block * rows.mask_block;
  rows.prompt_len = rows.first + draw(rng, 0, rows.num_rows);
  const bool gap = draw(rng, 0, 3) == 0;
  rows.cache_len = gap ? draw(rng, 0, rows.first) : rows.first;
  if (rows.mask == MaskKind::kCacheOnly) rows.cache_len = draw(rng, 0, length);
  if (draw(rng, 0, 1) == 0) {
    rows.cache_hole.begin = draw(rng, 0, rows.cache_len);
    rows.cache_hole.end = draw(rng, rows.cache_hole.begin, rows.cache_len);
  }
  return rows;
}

}  // namespace

std::int32_t draw(std::mt19937& rng, std::int32_t low, std::int32_t high) {
  return std::uniform_int_distribution<std::int32_t>(low, high)(rng);
}

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

SceneBatch random_batch(std::int32_t head_dim,
                        std::int32_t group,
                        int num_spans,
                        std::uint32_t seed,
                        std::int32_t longest) {
  std::mt19937 rng(seed);
  SceneBatch batch;
  const std::int32_t num_kv_heads = draw(rng, 1, 3);
  batch.shape = {num_kv_heads * group, num_kv_heads, head_dim};
  batch.scale = 1.0F / std::sqrt(static_cast<float>(head_dim));
  batch.window = draw(rng, 0, 2) == 0 ? draw(rng, 1, 150) : 0;
  for (int i = 0; i < num_spans; ++i) {
    const std::int32_t length = draw(rng, 1, longest);
    batch.sequences.push_back(random_sequence(batch.shape, length, rng));
    batch.spans.push_back({nullptr, random_rows(i, length, rng)});
  }
  for (std::size_t i = 0; i < batch.spans.size(); ++i) {
    batch.spans[i].sequence = &batch.sequences[i];
  }
  return batch;
}

std::vector<SceneSpan> pieces_of(const SceneSpan& span, std::mt19937& rng) {
  const AttentionSpan& rows = span.rows;
  const bool cuttable = rows.cache_len == rows.first &&
                        (rows.mask == MaskKind::kCausal || rows.mask == MaskKind::kBlockCausal);
  const std::int32_t block = rows.mask == MaskKind::kBlockCausal ? rows.mask_block : 1;
  const std::int32_t cut = draw(rng, 0, rows.num_rows) / block * block;
  if (!cuttable || cut == 0 || cut == rows.num_rows) return {span};
  std::vector<SceneSpan> pieces = {span, span};
  pieces[0].rows.num_rows = cut;
  pieces[1].rows.first += cut;
  pieces[1].rows.num_rows -= cut;
  pieces[1].rows.cache_len = pieces[1].rows.first;
  return pieces;
}

AttentionScene::AttentionScene(const SceneShape& shape,
                               std::int32_t page_size,
                               std::span<const SceneSpan> spans,
                               std::uint32_t seed,
                               std::int64_t padding)
    : shape_(shape), page_size_(page_size), padding_(padding) {
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
  q_.assign(static_cast<std::size_t>(num_rows_ * (q_cols + padding)), kBait);
  k_.assign(static_cast<std::size_t>(num_rows_ * (kv_cols + padding)), kBait);
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
                  to.begin() + (rows.first_row + row) * (cols + padding_));
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
  const auto view_of = [&](std::vector<std::uint16_t>& elements, std::int64_t cols) {
    return MatrixView{elements.data(), DType::kBFloat16, num_rows_, cols, cols + padding_};
  };
  AttentionArgs args;
  args.q = view_of(q_, q_cols);
  args.k = view_of(k_, kv_cols);
  args.v = view_of(v_, kv_cols);
  args.pages = {k_pages_.data(), v_pages_.data(),     num_pages_,
                page_size_,      shape_.num_kv_heads, shape_.head_dim};
  args.num_q_heads = shape_.num_q_heads;
  args.scale = scale;
  args.window = window;
  args.spans = spans_;
  args.out = view_of(out_, q_cols);
  return args;
}

std::span<const std::uint16_t> AttentionScene::out(std::size_t span, std::int32_t row) const {
  const auto cols = static_cast<std::size_t>(shape_.num_q_heads * shape_.head_dim);
  const auto at = static_cast<std::size_t>(spans_[span].first_row + row);
  return std::span(out_).subspan(at * (cols + static_cast<std::size_t>(padding_)), cols);
}

bool AttentionScene::bait_untouched() const {
  std::vector<std::uint16_t> rest = out_;
  const auto cols = static_cast<std::size_t>(shape_.num_q_heads * shape_.head_dim);
  for (const AttentionSpan& span : spans_) {
    for (std::int32_t row = 0; row < span.num_rows; ++row) {
      const auto at = static_cast<std::size_t>(span.first_row + row) *
                      (cols + static_cast<std::size_t>(padding_));
      std::fill_n(rest.begin() + static_cast<std::ptrdiff_t>(at), cols, kBait);
    }
  }
  return std::all_of(rest.begin(), rest.end(), [](std::uint16_t x) { return x == kBait; });
}

double tolerance_of(const ExactOutput& want, std::int32_t head_dim, double weight_rounding) {
  const double score_error = 0x1p-24 * (head_dim + 8) * want.score_terms + 1e-6;
  return 1.01 *
         (0x1p-8 * std::abs(want.value) + (weight_rounding + 2.0 * score_error) * want.spread +
          0x1p-24 * (want.num_keys + 16) * want.magnitude);
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
