#include <gtest/gtest.h>

#include <cmath>
#include <optional>

#include "kernels/rope_table.h"
#include "tests/kernels/backend_fixture.h"

namespace tessera::kernels {
namespace {

constexpr std::int32_t kRows = 5;
constexpr std::int32_t kPageSize = 4;
constexpr std::int32_t kNumPages = 2;

struct Shape {
  std::int32_t num_q_heads, num_kv_heads, head_dim, rotary_dim;
  bool bias, norm;
  bool value_norm = false, value_from_key = false;

  std::int32_t value_head(std::int32_t h) const {
    return num_q_heads + (value_from_key ? 0 : num_kv_heads) + h;
  }
};

constexpr Shape kShapes[] = {
    {2, 1, 8, 4, false, true},                 // narrower than a vector, half of it turned
    {4, 2, 16, 16, true, true},                // one vector
    {3, 1, 24, 16, true, false},               // a tail
    {6, 2, 80, 40, false, true},               // a tail in the rotated half
    {8, 4, 128, 128, true, true},              // a real size
    {2, 2, 64, 0, false, false},               // nothing but rounding
    {4, 2, 72, 72, false, true, true},         // values normed
    {2, 1, 512, 512, true, true, true, true},  // the widest head; raw keys are the values
    {3, 1, 40, 16, true, false, false, true},
    {3, 1, 256, 64, true, true},  // large heads, a quarter of them turned
};

std::vector<float> random_vector(std::int64_t size, std::uint32_t seed) {
  const Matrix row = random_matrix(1, size, seed);
  return {row.values.begin(), row.values.begin() + size};
}

// The inputs of one call.
struct Inputs {
  explicit Inputs(const Shape& s, std::int64_t padding = 3)
      : shape(s),
        columns((s.value_head(0) + s.num_kv_heads) * s.head_dim),
        qkv(random_matrix(kRows, columns, 6, padding)),
        rope(40, s.rotary_dim, padding) {
    if (s.bias) bias = random_vector(columns, 7);
    if (s.norm) q_norm = random_vector(s.head_dim, 8);
    if (s.norm) k_norm = random_vector(s.head_dim, 9);
    for (std::int32_t j = 0; j < s.rotary_dim / 2; ++j) {
      frequencies.push_back(std::pow(10000.0, -2.0 * j / s.rotary_dim));
    }
    fill_rope_table(frequencies, rope.view());
  }

  // Element j of a head of the fused row, by the definition; `size` bounds what it is made of.
  double exact(std::int64_t row, std::int64_t index, std::int32_t j, double& size) const;
  double exact_value(std::int64_t row, std::int32_t head, std::int32_t j) const;
  double normed(std::int64_t row, std::int64_t index, std::int32_t j) const;
  double input(std::int64_t row, std::int64_t index, std::int32_t j) const;
  double inverse_norm(std::int64_t row, std::int64_t index) const;

  Shape shape;
  std::int64_t columns;
  Matrix qkv;
  std::vector<float> bias, q_norm, k_norm;
  std::vector<double> frequencies;
  Matrix rope;
  std::vector<Position> positions = {5, 3, 39, 0, 17};
  std::vector<std::int64_t> slots = {3, -1, 7, 0, 2};
};

double Inputs::input(std::int64_t row, std::int64_t index, std::int32_t j) const {
  const std::int64_t column = index * shape.head_dim + j;
  return double{qkv.at(row, column)} +
         (bias.empty() ? 0.0 : double{bias[static_cast<std::size_t>(column)]});
}

double Inputs::inverse_norm(std::int64_t row, std::int64_t index) const {
  double squares = 0.0;
  for (std::int32_t d = 0; d < shape.head_dim; ++d) squares += std::pow(input(row, index, d), 2);
  return 1.0 / std::sqrt(squares / shape.head_dim + 1e-6);
}

double Inputs::normed(std::int64_t row, std::int64_t index, std::int32_t j) const {
  const std::vector<float>& weight = index < shape.num_q_heads ? q_norm : k_norm;
  if (weight.empty()) return input(row, index, j);
  return input(row, index, j) * inverse_norm(row, index) *
         double{weight[static_cast<std::size_t>(j)]};
}

double Inputs::exact_value(std::int64_t row, std::int32_t head, std::int32_t j) const {
  const std::int64_t index = shape.value_head(head);
  return input(row, index, j) * (shape.value_norm ? inverse_norm(row, index) : 1.0);
}

double Inputs::exact(std::int64_t row, std::int64_t index, std::int32_t j, double& size) const {
  const double x = normed(row, index, j);
  size = std::abs(x);
  if (j >= shape.rotary_dim) return x;
  const std::int32_t half = shape.rotary_dim / 2;
  const double angle =
      positions[static_cast<std::size_t>(row)] * frequencies[static_cast<std::size_t>(j % half)];
  const double other = normed(row, index, j < half ? j + half : j - half);
  size += std::abs(other);
  return x * std::cos(angle) + (j < half ? -other : other) * std::sin(angle);
}

// The outputs, with bait in pages and padding.
struct Outputs {
  Outputs(const Shape& s, DType activation, DType cache, std::int64_t rows, std::int64_t padding)
      : q(activation, rows, s.num_q_heads * s.head_dim, padding),
        k(cache, rows, s.num_kv_heads * s.head_dim, padding),
        v(cache, rows, s.num_kv_heads * s.head_dim, padding),
        k_pages(cache, kNumPages * kPageSize, s.num_kv_heads * s.head_dim, /*padding=*/0),
        v_pages(cache, kNumPages * kPageSize, s.num_kv_heads * s.head_dim, /*padding=*/0) {}
  TypedMatrix q, k, v, k_pages, v_pages;
};

class QkvTest : public BackendTest {
 protected:
  // Rows [first, first + count) of the inputs.
  Outputs run(const Inputs& in, std::int64_t first = 0, std::int64_t count = kRows) {
    const Shape& s = in.shape;
    Outputs out(s, activation(), cache(), count, in.qkv.stride - in.qkv.cols);
    QkvArgs args;
    args.qkv = in.qkv.view();
    args.qkv.data = in.qkv.view().row(first);
    args.qkv.rows = count;
    args.num_q_heads = s.num_q_heads;
    args.bias = in.bias;
    args.q_norm = in.q_norm;
    args.k_norm = in.k_norm;
    args.value_norm = s.value_norm;
    args.value_from_key = s.value_from_key;
    args.rope = in.rope.view();
    const auto begin = static_cast<std::size_t>(first);
    const auto size = static_cast<std::size_t>(count);
    args.positions = std::span(in.positions).subspan(begin, size);
    args.slots = std::span(in.slots).subspan(begin, size);
    args.q = out.q.view();
    args.k = out.k.view();
    args.v = out.v.view();
    args.pages = {out.k_pages.view().data,
                  out.v_pages.view().data,
                  kNumPages,
                  kPageSize,
                  s.num_kv_heads,
                  s.head_dim};
    backend_->qk_norm_rope_store(args);
    EXPECT_TRUE(out.q.padding_untouched() && out.k.padding_untouched() &&
                out.v.padding_untouched());
    return out;
  }

  // fp32 arithmetic: head_dim roundings of the sum of squares, a few more and the table's own; then
  // the rounding to the output's dtype.
  void expect_exact(const Inputs& in,
                    std::int64_t row,
                    std::int64_t index,
                    const TypedMatrix& got,
                    std::int64_t column) const {
    for (std::int32_t j = 0; j < in.shape.head_dim; ++j) {
      double size = 0.0;
      const double want = in.exact(row, index, j, size);
      ASSERT_NEAR(got.at(row, column + j), want, tolerance(in, got, want, size))
          << "row " << row << " head " << index << " element " << j;
    }
  }

  void expect_value(const Inputs& in,
                    std::int64_t row,
                    std::int32_t head,
                    const TypedMatrix& got) const {
    for (std::int32_t j = 0; j < in.shape.head_dim; ++j) {
      const double want = in.exact_value(row, head, j);
      ASSERT_NEAR(got.at(row, head * in.shape.head_dim + j), want,
                  tolerance(in, got, want, std::abs(want)))
          << "row " << row << " value head " << head << " element " << j;
    }
  }

 private:
  static double tolerance(const Inputs& in, const TypedMatrix& got, double want, double size) {
    return rounding(got.view().dtype) * std::abs(want) + 0x1p-24 * (in.shape.head_dim + 16) * size;
  }
};

TESSERA_FOR_EVERY_BACKEND(QkvTest);

TEST_P(QkvTest, NormsAndTurnsHeadsByTheDefinition) {
  for (const Shape& s : kShapes) {
    SCOPED_TRACE(::testing::Message() << "head_dim " << s.head_dim);
    const Inputs in(s);
    const Outputs out = run(in);
    for (std::int64_t row = 0; row < kRows; ++row) {
      for (std::int32_t h = 0; h < s.num_q_heads; ++h) {
        expect_exact(in, row, h, out.q, h * s.head_dim);
      }
      for (std::int32_t h = 0; h < s.num_kv_heads; ++h) {
        expect_exact(in, row, s.num_q_heads + h, out.k, h * s.head_dim);
        expect_value(in, row, h, out.v);
      }
    }
  }
}

TEST_P(QkvTest, StoresRowsInTheirSlotsAndNothingElse) {
  for (const Shape& s : kShapes) {
    const Inputs in(s);
    const Outputs out = run(in);
    for (std::int64_t slot = 0; slot < kNumPages * kPageSize; ++slot) {
      std::optional<std::int64_t> row;
      for (std::size_t i = 0; i < kRows; ++i) {
        if (in.slots[i] == slot) row = static_cast<std::int64_t>(i);
      }
      for (std::int64_t j = 0; j < out.k.cols(); ++j) {
        if (row) {
          ASSERT_EQ(out.k_pages.at(slot, j), out.k.at(*row, j));
          ASSERT_EQ(out.v_pages.at(slot, j), out.v.at(*row, j));
        } else {
          ASSERT_TRUE(std::isnan(out.k_pages.at(slot, j)) && std::isnan(out.v_pages.at(slot, j)));
        }
      }
    }
  }
}

// Ties go to even, subnormal numbers and infinities are kept.
TEST_P(QkvTest, ValuesAreRoundedToNearestEven) {
  Inputs in({2, 2, 64, 0, false, false});
  const float values[] = {0x1.01p0F,  0x1.03p0F, 0x1.010002p0F,
                          -0x1.01p0F, 0x1p-130F, 0x1.FFFFp127F};
  for (std::int64_t i = 0; i < 6; ++i) in.qkv.at(0, i) = in.qkv.at(0, 63 - i) = values[i];
  const Outputs out = run(in);
  const TypedMatrix want(activation(), in.qkv);
  for (std::int64_t j = 0; j < out.q.cols(); ++j) {
    ASSERT_EQ(out.q.at(0, j), want.at(0, j)) << j;
  }
}

void expect_rows(const TypedMatrix& got, const TypedMatrix& want, std::int64_t first) {
  for (std::int64_t i = 0; i < got.rows(); ++i) {
    for (std::int64_t j = 0; j < got.cols(); ++j) ASSERT_EQ(got.at(i, j), want.at(first + i, j));
  }
}

TEST_P(QkvTest, AlignmentOfRowsDoesNotChangeABit) {
  for (const Shape& s : kShapes) {
    const Outputs odd = run(Inputs(s, /*padding=*/3));
    const Outputs even = run(Inputs(s, /*padding=*/8));
    expect_rows(even.q, odd.q, 0);
    expect_rows(even.k, odd.k, 0);
    expect_rows(even.v, odd.v, 0);
  }
}

TEST_P(QkvTest, OtherRowsAndThreadsDoNotChangeABit) {
  for (const Shape& s : kShapes) {
    const Inputs in(s);
    backend_ = GetParam().create();
    const Outputs whole = run(in);
    for (const std::int32_t num_threads : {1, 2, 3}) {
      backend_ = GetParam().create(num_threads);
      for (const auto& [first, count] : {std::pair{0, kRows}, {1, 1}, {2, 3}}) {
        const Outputs part = run(in, first, count);
        expect_rows(part.q, whole.q, first);
        expect_rows(part.k, whole.k, first);
        expect_rows(part.v, whole.v, first);
      }
    }
  }
}

}  // namespace
}  // namespace tessera::kernels
