#include "worker/weights/safetensors_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <random>

#include "common/model_spec/model_spec.h"
#include "common/tensor/float_formats.h"
#include "tests/support/error_matchers.h"
#include "tests/worker/weights/test_checkpoint.h"

namespace tessera {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;

constexpr float kPoison = 12345.0F;

/// A checkpoint in a directory of its own, and the source that reads it.
class SafetensorsSourceTest : public ::testing::Test {
 protected:
  void write(const std::string& file, const std::vector<TestTensor>& tensors) {
    write_file(directory_.path() / file, file_with_tensors(tensors));
  }
  void write_index(const std::string& weight_map) {
    write_file(directory_.path() / "model.safetensors.index.json",
               R"({"metadata":{"total_size":1},"weight_map":)" + weight_map + "}");
  }
  SafetensorsSource open(const std::vector<TensorDeclaration>& declarations,
                         const ExtraTensors& extra = {}) {
    return SafetensorsSource(directory_.path(), declarations, extra);
  }
  std::string refusal(const std::vector<TensorDeclaration>& declarations,
                      const ExtraTensors& extra = {}) {
    return refusal_of([&] { open(declarations, extra); });
  }

  TemporaryDirectory directory_;
};

// Reads a slice into a larger poisoned matrix and compares every element, the poison included.
void expect_slice(
    TensorSource& source, const TestTensor& tensor, IndexRange rows, IndexRange cols, DType dtype) {
  const std::int64_t stride = cols.size() + 3;
  std::vector<float> wide(static_cast<std::size_t>((rows.size() + 1) * stride), kPoison);
  std::vector<std::uint16_t> narrow(wide.size(), bfloat16_of_float(kPoison));
  void* data = dtype == DType::kFloat32 ? static_cast<void*>(wide.data()) : narrow.data();
  source.read_matrix(tensor.name, rows, cols, {data, dtype, rows.size() + 1, stride, stride});
  for (std::int64_t i = 0; i <= rows.size(); ++i) {
    for (std::int64_t j = 0; j < stride; ++j) {
      const std::int64_t row = rows.begin + i;
      const std::int64_t col = cols.begin + j;
      const bool is_inside = i < rows.size() && j < cols.size();
      const bool is_stored = row < tensor.shape[0] && col < tensor.shape[1];
      float want = is_inside ? 0.0F : kPoison;
      if (is_inside && is_stored) want = element_of(tensor, row * tensor.shape[1] + col);
      const auto at = static_cast<std::size_t>(i * stride + j);
      if (dtype == DType::kFloat32) {
        ASSERT_EQ(wide[at], want) << tensor.dtype << " at " << row << ", " << col;
      } else {
        ASSERT_EQ(narrow[at], bfloat16_of_float(want)) << tensor.dtype << " at " << row;
      }
    }
  }
}

// Visits a slice: every stored element once, rows ascending, in the type and bits of the file.
void expect_visit(TensorSource& source,
                  const TestTensor& tensor,
                  IndexRange rows,
                  IndexRange cols) {
  const DType dtype = source.stored_dtype(tensor.name);
  EXPECT_EQ(dtype, tensor.dtype == "F32"   ? DType::kFloat32
                   : tensor.dtype == "F16" ? DType::kFloat16
                                           : DType::kBFloat16);
  const IndexRange stored_cols{std::min(cols.begin, tensor.shape[1]),
                               std::min(cols.end, tensor.shape[1])};
  std::int64_t next = rows.begin;
  source.visit_matrix(
      tensor.name, rows, cols, [&](std::int64_t first_row, const ConstMatrixView& part) {
        ASSERT_EQ(first_row, next - rows.begin);
        ASSERT_EQ(part.dtype, dtype);
        ASSERT_EQ(part.cols, stored_cols.size());
        ASSERT_GT(part.rows, 0);
        for (std::int64_t i = 0; i < part.rows; ++i) {
          const std::int64_t first = (next + i) * tensor.shape[1] + stored_cols.begin;
          for (std::int64_t j = 0; j < part.cols; ++j) {
            ASSERT_EQ(load_element(part.row(i), dtype, j), element_of(tensor, first + j));
          }
        }
        next += part.rows;
      });
  EXPECT_EQ(next, std::max(rows.begin, std::min(rows.end, tensor.shape[0])));
}

IndexRange random_range(std::mt19937& rng, std::int64_t size) {
  std::uniform_int_distribution<std::int64_t> uniform(0, size + size / 2 + 1);
  const std::int64_t a = uniform(rng);
  const std::int64_t b = uniform(rng);
  return {std::min(a, b), std::max(a, b)};
}

TEST_F(SafetensorsSourceTest, SlicesEqualSlicesOfTheWhole) {
  std::mt19937 rng(/*seed=*/7);
  std::vector<TestTensor> tensors;
  std::vector<TensorDeclaration> declarations;
  const std::vector<std::string> dtypes = {"F32", "BF16", "F16"};
  std::uniform_int_distribution<std::int64_t> size(1, 70);
  for (std::uint32_t i = 0; i < 24; ++i) {
    const std::vector<std::int64_t> shape = {size(rng), size(rng)};
    tensors.push_back(random_tensor("t" + std::to_string(i), dtypes[i % 3], shape, i));
    declarations.push_back({tensors.back().name, shape});
  }
  write("model.safetensors", tensors);
  SafetensorsSource source = open(declarations);
  for (int round = 0; round < 400; ++round) {
    const TestTensor& tensor = tensors[rng() % tensors.size()];
    expect_slice(source, tensor, random_range(rng, tensor.shape[0]),
                 random_range(rng, tensor.shape[1]),
                 rng() % 2 == 0 ? DType::kFloat32 : DType::kBFloat16);
    expect_visit(source, tensor, random_range(rng, tensor.shape[0]),
                 random_range(rng, tensor.shape[1]));
    if (HasFatalFailure()) return;
  }
}

TEST_F(SafetensorsSourceTest, StackedMatricesAreOne) {
  TestTensor tensor = random_tensor("experts", "BF16", {12, 10}, 4);
  tensor.shape = {3, 4, 10};
  write("model.safetensors", {tensor});
  SafetensorsSource source = open({{"experts", {3, 4, 10}}});
  EXPECT_THAT(refusal({{"experts", {12, 10}}}), HasSubstr("experts"));
  tensor.shape = {12, 10};
  expect_slice(source, tensor, {3, 14}, {2, 11}, DType::kFloat32);
  expect_visit(source, tensor, {3, 14}, {2, 11});
  EXPECT_ERROR(source.read_vector("experts", {0, 3}), kInternal);
}

TEST_F(SafetensorsSourceTest, WhatBeginsWithASkippedPrefixIsNotRead) {
  const TestTensor tensor = random_tensor("w", "BF16", {2, 4}, 4);
  write("model.safetensors", {tensor, random_tensor("vision.w", "BF16", {3}, 5)});
  ExtraTensors extra;
  EXPECT_THAT(refusal({{"w", {2, 4}}}, extra), HasSubstr("vision.w"));
  extra.skipped_prefixes = {"vision."};
  EXPECT_EQ(refusal({{"w", {2, 4}}}, extra), "");
}

TEST_F(SafetensorsSourceTest, DataMayStartAtAnyByte) {
  for (const std::string padding : {"", " ", "  ", "   "}) {
    const TestTensor tensor = random_tensor("w", "F32", {3, 5}, 4);
    const std::string header =
        R"({"w":{"dtype":"F32","shape":[3,5],"data_offsets":[0,60]}})" + padding;
    write_file(directory_.path() / "model.safetensors", file_with_header(header, tensor.bytes));
    SafetensorsSource source = open({{"w", {3, 5}}});
    expect_slice(source, tensor, {0, 3}, {1, 5}, DType::kFloat32);
    expect_slice(source, tensor, {0, 3}, {1, 5}, DType::kBFloat16);
    expect_visit(source, tensor, {0, 3}, {1, 5});
  }
}

TEST_F(SafetensorsSourceTest, LargeTensorsAreReadInWindowsAndMayBeReadAgain) {
  const TestTensor tensor = random_tensor("w", "BF16", {3001, 2048}, 4);  // three windows of 4 MB
  write("model.safetensors", {tensor, random_tensor("x", "BF16", {5}, 5)});
  SafetensorsSource source = open({{"w", {3001, 2048}}, {"x", {5}}});
  expect_slice(source, tensor, {0, 3004}, {0, 2048}, DType::kBFloat16);
  expect_slice(source, tensor, {100, 2900}, {1000, 1100}, DType::kFloat32);
  expect_visit(source, tensor, {0, 3004}, {0, 2048});
  expect_visit(source, tensor, {100, 2900}, {1000, 1100});
}

TEST_F(SafetensorsSourceTest, VectorsAreFp32AndZeroBeyondTheirEnd) {
  for (const std::string dtype : {"F32", "BF16", "F16"}) {
    const TestTensor tensor = random_tensor("norm", dtype, {10}, 3);
    write("model.safetensors", {tensor});
    SafetensorsSource source = open({{"norm", {10}}});
    const std::vector<float> values = source.read_vector("norm", {3, 14});
    ASSERT_EQ(values.size(), 11);
    for (std::int64_t i = 3; i < 14; ++i) {
      EXPECT_EQ(values[static_cast<std::size_t>(i - 3)], i < 10 ? element_of(tensor, i) : 0.0F);
    }
    EXPECT_THAT(source.read_vector("norm", {12, 14}), Each(0.0F));
  }
}

TEST_F(SafetensorsSourceTest, AskingForWhatWasNotDeclaredIsABug) {
  write("model.safetensors", {random_tensor("w", "F32", {3, 5}, 4)});
  SafetensorsSource source = open({{"w", {3, 5}}});
  std::vector<float> out(15);
  const MatrixView view{out.data(), DType::kFloat32, 3, 5, 5};
  EXPECT_ERROR(source.read_matrix("v", {0, 3}, {0, 5}, view), kInternal);
  EXPECT_ERROR(source.read_vector("w", {0, 3}), kInternal);
  EXPECT_ERROR(source.read_matrix("w", {0, 4}, {0, 5}, view), kInternal);
  EXPECT_ERROR(source.read_matrix("w", {-1, 2}, {0, 5}, view), kInternal);
  EXPECT_ERROR(source.stored_dtype("v"), kInternal);
  const auto use = [](std::int64_t, const ConstMatrixView&) {};
  EXPECT_ERROR(source.visit_matrix("v", {0, 3}, {0, 5}, use), kInternal);
  EXPECT_ERROR(source.visit_matrix("w", {-1, 2}, {0, 5}, use), kInternal);
}

TEST_F(SafetensorsSourceTest, ErrorsNameTensorFileExpectedAndFound) {
  write("model.safetensors", {random_tensor("w", "F32", {3, 5}, 4)});
  EXPECT_THAT(refusal({{"w", {5, 3}}}),
              AllOf(HasSubstr("model.safetensors"), HasSubstr("'w' has shape [3, 5]"),
                    HasSubstr("expected [5, 3]")));
  EXPECT_THAT(refusal({{"w", {15}}}), HasSubstr("expected [15]"));
  EXPECT_THAT(refusal({{"w", {3, 5}}, {"v", {7}}}), HasSubstr("tensor 'v' [7] is missing"));
  EXPECT_THAT(refusal({{"w", {3, 5}}, {"v", {7}}, {"u", {7}}}), HasSubstr("and 1 others"));
  EXPECT_THAT(refusal({}), HasSubstr("'w' F32 [3, 5] is not part of this model"));
  write("model.safetensors", {TestTensor{"w", "I16", {3}, "abcdef"}});
  EXPECT_THAT(refusal({{"w", {3}}}), HasSubstr("'w' has type I16, expected F32, BF16 or F16"));
}

TEST_F(SafetensorsSourceTest, NamedBuffersAreSkippedAndThePrefixMayBeMissing) {
  const TestTensor weight = random_tensor("layers.0.weight", "BF16", {2, 4}, 1);
  write("model.safetensors",
        {weight, random_tensor("model.layers.0.rotary_emb.inv_freq", "F32", {4}, 2)});
  SafetensorsSource source = open({{"model.layers.0.weight", {2, 4}}});
  TestTensor renamed = weight;
  renamed.name = "model.layers.0.weight";
  expect_slice(source, renamed, {0, 2}, {0, 4}, DType::kFloat32);
  EXPECT_THAT(refusal({{"model.layers.0.weight", {2, 4}}}, ExtraTensors{{}, {}}),
              HasSubstr("inv_freq"));
}

TEST_F(SafetensorsSourceTest, ACopyOfATiedTensorMustBeEqual) {
  const TestTensor embedding = random_tensor("model.embed_tokens.weight", "BF16", {600, 4000}, 1);
  TestTensor head = embedding;
  head.name = "lm_head.weight";
  const std::vector<TensorDeclaration> declarations = {{embedding.name, embedding.shape}};
  const ExtraTensors tied{{}, {{"lm_head.weight", embedding.name}}};
  write("model.safetensors", {embedding});
  EXPECT_EQ(refusal(declarations, tied), "") << "need not be there";
  write("model.safetensors", {embedding, head});
  EXPECT_EQ(refusal(declarations, tied), "");
  EXPECT_THAT(refusal(declarations), HasSubstr("'lm_head.weight'"));
  head.bytes.back() = static_cast<char>(head.bytes.back() ^ 1);
  write("model.safetensors", {embedding, head});
  EXPECT_THAT(refusal(declarations, tied), AllOf(HasSubstr("'lm_head.weight' must be equal")));
  write("model.safetensors", {embedding, random_tensor("lm_head.weight", "BF16", {600, 3999}, 1)});
  EXPECT_THAT(refusal(declarations, tied), HasSubstr("expected a copy"));
}

TEST_F(SafetensorsSourceTest, ShardsAreFoundThroughTheIndexWhateverTheirNames) {
  const TestTensor a = random_tensor("a", "BF16", {2, 4}, 1);
  const TestTensor b = random_tensor("b", "F32", {3, 3}, 2);
  write("layer-0-ep-0-of-1.safetensors", {a});
  write("others.safetensors", {b});
  write("unrelated.safetensors", {a});
  write_index(R"({"a":"layer-0-ep-0-of-1.safetensors","b":"others.safetensors"})");
  SafetensorsSource source = open({{"a", {2, 4}}, {"b", {3, 3}}});
  expect_slice(source, a, {0, 2}, {0, 4}, DType::kBFloat16);
  expect_slice(source, b, {0, 3}, {0, 3}, DType::kFloat32);
}

TEST_F(SafetensorsSourceTest, AnIndexThatLiesIsRefused) {
  const std::vector<TensorDeclaration> declarations = {{"a", {2, 4}}, {"b", {3, 3}}};
  const TestTensor a = random_tensor("a", "BF16", {2, 4}, 1);
  const TestTensor b = random_tensor("b", "F32", {3, 3}, 2);
  write("1.safetensors", {a});
  write("2.safetensors", {b});
  write_index(R"({"a":"1.safetensors","b":"1.safetensors"})");
  EXPECT_THAT(refusal(declarations),
              AllOf(HasSubstr("1.safetensors"), HasSubstr("'b' is missing")));
  write_index(R"({"a":"2.safetensors","b":"1.safetensors"})");
  EXPECT_THAT(refusal(declarations), HasSubstr("the index expects it in"));
  write_index(R"({"a":"1.safetensors","b":"3.safetensors"})");
  EXPECT_THAT(refusal(declarations), HasSubstr("3.safetensors: cannot be opened"));
  write("2.safetensors", {a, b});
  write_index(R"({"a":"1.safetensors","b":"2.safetensors"})");
  EXPECT_THAT(refusal(declarations), HasSubstr("'a' is also in"));
  write("2.safetensors", {b, random_tensor("c", "F32", {1}, 3)});
  EXPECT_THAT(refusal(declarations), HasSubstr("'c' is not in model.safetensors.index.json"));
  for (const std::string map :
       {R"({"a":"../1.safetensors"})", R"({"a":"/etc/passwd"})", R"({"a":".."})", R"({"a":""})",
        R"({"a":7})", R"([])", R"({})", R"(null)"}) {
    write_index(map);
    EXPECT_THAT(refusal(declarations), HasSubstr("index.json")) << map;
  }
}

TEST_F(SafetensorsSourceTest, WithoutAnIndexFilesMustNotContradictEachOther) {
  const TestTensor a = random_tensor("a", "BF16", {2, 4}, 1);
  const TestTensor b = random_tensor("b", "F32", {3, 3}, 2);
  EXPECT_THAT(refusal({}), HasSubstr("holds neither model.safetensors"));
  write("x.safetensors", {a});
  write("y.safetensors", {b});
  EXPECT_EQ(refusal({{"a", {2, 4}}, {"b", {3, 3}}}), "");
  write("z.safetensors", {b});
  EXPECT_THAT(refusal({{"a", {2, 4}}, {"b", {3, 3}}}),
              AllOf(HasSubstr("y.safetensors"), HasSubstr("z.safetensors"), HasSubstr("'b'")));
  EXPECT_THAT(refusal_of([&] { SafetensorsSource(directory_.path() / "none", {}); }),
              HasSubstr("is not a directory"));
}

TEST_F(SafetensorsSourceTest, TheDigestDependsOnNamesShapesAndTypesAlone) {
  const std::vector<TensorDeclaration> declarations = {{"a", {2, 4}}, {"b", {3, 3}}};
  const TestTensor a = random_tensor("a", "BF16", {2, 4}, 1);
  write("model.safetensors", {a, random_tensor("b", "F32", {3, 3}, 2)});
  const std::string digest = open(declarations).digest();
  write("model.safetensors", {a, random_tensor("b", "F32", {3, 3}, 99)});
  EXPECT_EQ(open(declarations).digest(), digest);
  write("model.safetensors", {a, random_tensor("b", "BF16", {3, 3}, 2)});
  EXPECT_NE(open(declarations).digest(), digest);
  std::filesystem::remove(directory_.path() / "model.safetensors");
  write("1.safetensors", {a});
  write("2.safetensors", {random_tensor("b", "F32", {3, 3}, 2)});
  EXPECT_EQ(open(declarations).digest(), digest) << "shards do not matter";
}

}  // namespace
}  // namespace tessera
