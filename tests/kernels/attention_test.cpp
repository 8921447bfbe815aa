#include <gtest/gtest.h>

#include <cmath>

#include "kernels/backend_registry.h"
#include "tests/kernels/matrix.h"

namespace tessera::kernels {
namespace {

constexpr std::int32_t kHeadDim = 16;
constexpr std::int32_t kKvHeads = 2;
constexpr std::int32_t kQHeads = 6;
constexpr std::int32_t kLength = 40;  // positions of the sequence

struct Sequence {
  Matrix q = random_matrix(kLength, kQHeads* kHeadDim, 1);
  Matrix k = random_matrix(kLength, kKvHeads* kHeadDim, 2);
  Matrix v = random_matrix(kLength, kKvHeads* kHeadDim, 3);
};

Matrix rows_of(const Matrix& whole, std::int64_t first, std::int64_t count) {
  Matrix part(count, whole.cols);
  for (std::int64_t i = 0; i < count; ++i) {
    for (std::int64_t j = 0; j < whole.cols; ++j) part.at(i, j) = whole.at(first + i, j);
  }
  return part;
}

class AttentionTest : public ::testing::TestWithParam<std::string_view> {
 protected:
  // Rows [span.first, ...) of the sequence; positions below cache_len come from pages in
  // descending order, whose other slots hold NaN.
  Matrix attend(const Span& span, std::int32_t page_size, std::int32_t window = 0) {
    const std::int32_t num_pages = (kLength + page_size - 1) / page_size + 1;
    const std::size_t elements =
        static_cast<std::size_t>(num_pages * page_size * kKvHeads * kHeadDim);
    std::vector<float> k_pages(elements, std::nanf(""));
    std::vector<float> v_pages(elements, std::nanf(""));
    std::vector<PageId> table;
    for (PageId page = num_pages - 1; page > 0; --page) table.push_back(page);
    for (Position p = 0; p < span.cache_len; ++p) {
      const std::int64_t slot =
          std::int64_t{table[static_cast<std::size_t>(p / page_size)]} * page_size + p % page_size;
      for (std::int32_t j = 0; j < kKvHeads * kHeadDim; ++j) {
        const auto at = static_cast<std::size_t>(slot * kKvHeads * kHeadDim + j);
        k_pages[at] = sequence_.k.at(p, j);
        v_pages[at] = sequence_.v.at(p, j);
      }
    }
    const Matrix q = rows_of(sequence_.q, span.first, span.num_rows());
    const Matrix k = rows_of(sequence_.k, span.first, span.num_rows());
    const Matrix v = rows_of(sequence_.v, span.first, span.num_rows());
    Matrix out(span.num_rows(), q.cols);
    const AttentionSpan rows{
        0,         span.num_rows(), span.first,      span.cache_len, span.cache_hole,
        span.mask, span.mask_block, span.prompt_len, table};
    backend_->block_attention(
        {q.view(),
         k.view(),
         v.view(),
         {k_pages.data(), v_pages.data(), num_pages, page_size, kKvHeads, kHeadDim},
         kQHeads,
         0.25F,
         window,
         {&rows, 1},
         out.view()});
    return out;
  }

  double want(const Span& span, Position i, std::int32_t head, int j, std::int32_t window) const {
    const std::int32_t kv = head / (kQHeads / kKvHeads);
    double total = 0.0;
    double sum = 0.0;
    for (Position p = 0; p < kLength; ++p) {
      const bool cached = p < span.cache_len && !span.cache_hole.contains(p);
      const bool fresh = p >= span.first && p < span.end() && sees(span, i, p);
      if (!(cached || fresh) || (window > 0 && i - p >= window)) continue;
      double score = 0.0;
      for (int d = 0; d < kHeadDim; ++d) {
        score += double{sequence_.q.at(i, head * kHeadDim + d)} *
                 double{sequence_.k.at(p, kv * kHeadDim + d)};
      }
      total += std::exp(0.25 * score);
      sum += std::exp(0.25 * score) * double{sequence_.v.at(p, kv * kHeadDim + j)};
    }
    return total > 0.0 ? sum / total : 0.0;
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

  Sequence sequence_;
  std::unique_ptr<Backend> backend_ = create_backend(GetParam(), {});
};

INSTANTIATE_TEST_SUITE_P(Backends, AttentionTest, ::testing::ValuesIn(backend_names()));

TEST_P(AttentionTest, MatchesTheDefinitionForEveryMask) {
  std::vector<Span> spans = {
      span(0, kLength, 0, MaskKind::kFull),   span(0, kLength, 0, MaskKind::kCausal),
      span(8, 12, 8, MaskKind::kBlockCausal), span(0, 33, 0, MaskKind::kBlockCausal, 8),
      span(0, 20, 0, MaskKind::kPromptFull),  span(8, 4, 24, MaskKind::kCacheOnly),
      span(0, 3, 0, MaskKind::kCacheOnly),  // sees nothing
  };
  spans.push_back(span(24, 8, 24, MaskKind::kBlockCausal));
  spans.back().cache_hole = {3, 9};
  for (const Span& s : spans) {
    for (const std::int32_t window : {0, 7}) {
      const Matrix got = attend(s, 8, window);
      for (std::int32_t row = 0; row < s.num_rows(); ++row) {
        for (std::int32_t head = 0; head < kQHeads; ++head) {
          for (int j = 0; j < kHeadDim; ++j) {
            ASSERT_NEAR(got.at(row, head * kHeadDim + j), want(s, s.first + row, head, j, window),
                        1e-5)
                << "mask " << static_cast<int>(s.mask) << " row " << row << " window " << window;
          }
        }
      }
    }
  }
}

TEST_P(AttentionTest, PageSizeAndChunkingDoNotChangeABit) {
  const Matrix whole = attend(span(0, kLength, 0, MaskKind::kBlockCausal), 8);
  for (const std::int32_t page_size : {1, 4, 32}) {
    const Matrix rest = attend(span(12, kLength - 12, 12, MaskKind::kBlockCausal), page_size);
    for (std::int64_t i = 0; i < rest.rows; ++i) {
      for (std::int64_t j = 0; j < rest.cols; ++j) {
        ASSERT_EQ(rest.at(i, j), whole.at(i + 12, j)) << "page size " << page_size;
      }
    }
  }
}

}  // namespace
}  // namespace tessera::kernels
