#include <gtest/gtest.h>

#include <cmath>

#include "tests/kernels/backend_fixture.h"

namespace tessera::kernels {
namespace {

constexpr std::int32_t kHeadDim = 16;
constexpr std::int32_t kKvHeads = 2;
constexpr std::int32_t kQHeads = 6;
constexpr std::int32_t kLength = 40;  // positions of the sequence

struct Exact {
  double value = 0.0;
  double spread = 0.0;  // weighted mean distance of the values from it
};

TypedMatrix rows_of(const TypedMatrix& whole, std::int64_t first, std::int64_t count) {
  TypedMatrix part(whole.view().dtype, count, whole.cols());
  for (std::int64_t i = 0; i < count; ++i) {
    for (std::int64_t j = 0; j < whole.cols(); ++j) part.set(i, j, whole.at(first + i, j));
  }
  return part;
}

class AttentionTest : public BackendTest {
 protected:
  void SetUp() override {
    BackendTest::SetUp();
    if (IsSkipped()) return;
    q_ = {activation(), random_matrix(kLength, kQHeads * kHeadDim, 1)};
    k_ = {cache(), random_matrix(kLength, kKvHeads * kHeadDim, 2)};
    v_ = {cache(), random_matrix(kLength, kKvHeads * kHeadDim, 3)};
  }

  // Rows [span.first, ...) of the sequence; positions below cache_len come from pages in
  // descending order, whose other slots hold NaN.
  TypedMatrix attend(const Span& span, std::int32_t page_size, std::int32_t window = 0) {
    const std::int32_t num_pages = (kLength + page_size - 1) / page_size + 1;
    const std::int64_t num_slots = std::int64_t{num_pages} * page_size;
    TypedMatrix k_pages(cache(), num_slots, kKvHeads * kHeadDim, /*padding=*/0);
    TypedMatrix v_pages(cache(), num_slots, kKvHeads * kHeadDim, /*padding=*/0);
    std::vector<PageId> table;
    for (PageId page = num_pages - 1; page > 0; --page) table.push_back(page);
    for (Position p = 0; p < span.cache_len; ++p) {
      if (span.cache_hole.contains(p)) continue;
      const std::int64_t slot =
          std::int64_t{table[static_cast<std::size_t>(p / page_size)]} * page_size + p % page_size;
      for (std::int32_t j = 0; j < kKvHeads * kHeadDim; ++j) {
        k_pages.set(slot, j, k_.at(p, j));
        v_pages.set(slot, j, v_.at(p, j));
      }
    }
    const TypedMatrix q = rows_of(q_, span.first, span.num_rows());
    const TypedMatrix k = rows_of(k_, span.first, span.num_rows());
    const TypedMatrix v = rows_of(v_, span.first, span.num_rows());
    TypedMatrix out(activation(), span.num_rows(), q.cols());
    const AttentionSpan rows{
        0,         span.num_rows(), span.first,      span.cache_len, span.cache_hole,
        span.mask, span.mask_block, span.prompt_len, table};
    backend_->block_attention(
        {q.view(),
         k.view(),
         v.view(),
         {k_pages.view().data, v_pages.view().data, num_pages, page_size, kKvHeads, kHeadDim},
         kQHeads,
         0.25F,
         window,
         {&rows, 1},
         out.view()});
    EXPECT_TRUE(out.padding_untouched());
    return out;
  }

  Exact want(const Span& span, Position i, std::int32_t head, int j, std::int32_t window) const {
    const std::int32_t kv = head / (kQHeads / kKvHeads);
    std::vector<double> weights;
    std::vector<double> values;
    for (Position p = 0; p < kLength; ++p) {
      const bool cached = p < span.cache_len && !span.cache_hole.contains(p);
      const bool fresh = p >= span.first && p < span.end() && sees(span, i, p);
      const Position from = span.mask == MaskKind::kFull ? span.first : i;
      if (!(cached || fresh) || (window > 0 && from - p >= window)) continue;
      double score = 0.0;
      for (int d = 0; d < kHeadDim; ++d) {
        score += double{q_.at(i, head * kHeadDim + d)} * double{k_.at(p, kv * kHeadDim + d)};
      }
      weights.push_back(std::exp(0.25 * score));
      values.push_back(v_.at(p, kv * kHeadDim + j));
    }
    double total = 0.0;
    Exact exact;
    for (const double weight : weights) total += weight;
    for (std::size_t n = 0; n < weights.size(); ++n) exact.value += weights[n] / total * values[n];
    for (std::size_t n = 0; n < weights.size(); ++n) {
      exact.spread += weights[n] / total * std::abs(values[n] - exact.value);
    }
    return exact;
  }

  static Span span(Position first, int rows, int cache_len, MaskKind mask, int block = 4) {
    Span result;
    result.first = first;
    result.tokens.assign(static_cast<std::size_t>(rows), 0);
    result.cache_len = cache_len;
    result.mask = mask;
    result.mask_block = block;
    result.prompt_len = 10;
    return result;
  }

  TypedMatrix q_{DType::kFloat32, 0, 0};
  TypedMatrix k_{DType::kFloat32, 0, 0};
  TypedMatrix v_{DType::kFloat32, 0, 0};
};

TESSERA_FOR_EVERY_BACKEND(AttentionTest);

// bf16: the result is rounded, and softmax weights may be, each moving the result by its relative
// error times its distance from it.
TEST_P(AttentionTest, MatchesTheDefinitionForEveryMask) {
  std::vector<Span> spans = {
      span(0, kLength, 0, MaskKind::kFull),   span(0, kLength, 0, MaskKind::kCausal),
      span(8, 12, 8, MaskKind::kBlockCausal), span(0, 33, 0, MaskKind::kBlockCausal, 8),
      span(0, 20, 0, MaskKind::kPromptFull),  span(8, 4, 24, MaskKind::kCacheOnly),
      span(0, 3, 0, MaskKind::kCacheOnly),  // sees nothing
      span(20, 9, 20, MaskKind::kFull),  // a canvas: of the cache, all rows see what the first does
  };
  spans.push_back(span(24, 8, 24, MaskKind::kBlockCausal));
  spans.back().cache_hole = {3, 9};
  for (const Span& s : spans) {
    for (const std::int32_t window : {0, 7}) {
      const TypedMatrix got = attend(s, 8, window);
      for (std::int32_t row = 0; row < s.num_rows(); ++row) {
        for (std::int32_t head = 0; head < kQHeads; ++head) {
          for (int j = 0; j < kHeadDim; ++j) {
            const Exact exact = want(s, s.first + row, head, j, window);
            const double tolerance =
                rounding(activation()) * (std::abs(exact.value) + exact.spread) + 1e-5;
            ASSERT_NEAR(got.at(row, head * kHeadDim + j), exact.value, tolerance)
                << "mask " << static_cast<int>(s.mask) << " row " << row << " window " << window;
          }
        }
      }
    }
  }
}

TEST_P(AttentionTest, PageSizeAndChunkingDoNotChangeABit) {
  const TypedMatrix whole = attend(span(0, kLength, 0, MaskKind::kBlockCausal), 8);
  for (const std::int32_t page_size : {1, 4, 32}) {
    const TypedMatrix rest = attend(span(12, kLength - 12, 12, MaskKind::kBlockCausal), page_size);
    for (std::int64_t i = 0; i < rest.rows(); ++i) {
      for (std::int64_t j = 0; j < rest.cols(); ++j) {
        ASSERT_EQ(rest.at(i, j), whole.at(i + 12, j)) << "page size " << page_size;
      }
    }
  }
}

TEST_P(AttentionTest, TheNumberOfThreadsDoesNotChangeABit) {
  const Span rows = span(8, 29, 8, MaskKind::kBlockCausal);
  const TypedMatrix alone = attend(rows, 8);
  for (const std::int32_t num_threads : {2, 3}) {
    backend_ = GetParam().create(num_threads);
    const TypedMatrix shared = attend(rows, 8);
    for (std::int64_t i = 0; i < alone.rows(); ++i) {
      for (std::int64_t j = 0; j < alone.cols(); ++j) ASSERT_EQ(shared.at(i, j), alone.at(i, j));
    }
  }
}

}  // namespace
}  // namespace tessera::kernels
