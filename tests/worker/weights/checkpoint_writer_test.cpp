#include "worker/weights/checkpoint_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/error_matchers.h"
#include "tests/worker/weights/test_checkpoint.h"
#include "worker/weights/dummy_source.h"
#include "worker/weights/safetensors_source.h"

namespace tessera {
namespace {

using ::testing::ElementsAre;

const std::vector<TensorDeclaration> kDeclarations = {
    {"embed", {900, 4001}}, {"a.weight", {40, 30}},  {"a.bias", {41}},
    {"norm.weight", {30}},  {"b.weight", {1, 5000}}, {"stacked", {3, 4, 5}}};

std::vector<std::string> file_names(const std::filesystem::path& directory) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

void expect_equal(TensorSource& got, TensorSource& want) {
  for (const TensorDeclaration& tensor : kDeclarations) {
    if (tensor.shape.size() == 1) {
      const IndexRange range{0, tensor.shape[0]};
      EXPECT_EQ(got.read_vector(tensor.name, range), want.read_vector(tensor.name, range));
      continue;
    }
    const MatrixShape shape(tensor.shape);
    const IndexRange rows{0, shape.rows};
    const IndexRange cols{0, shape.cols};
    std::vector<float> left(static_cast<std::size_t>(rows.size() * cols.size()));
    std::vector<float> right(left.size());
    for (auto [source, values] : {std::pair(&got, &left), std::pair(&want, &right)}) {
      source->read_matrix(tensor.name, rows, cols,
                          {values->data(), DType::kFloat32, rows.size(), cols.size(), cols.size()});
    }
    EXPECT_TRUE(left == right) << tensor.name;
  }
}

TEST(CheckpointWriterTest, WhatIsWrittenIsReadBack) {
  for (const DType dtype : {DType::kBFloat16, DType::kFloat32}) {
    const TemporaryDirectory directory;
    DummySource source(kDeclarations, /*seed=*/9);
    std::int64_t last = 0;
    const std::int64_t total = checkpoint_bytes(kDeclarations, dtype);
    write_checkpoint(directory.path(), kDeclarations, source, {dtype},
                     [&](std::int64_t done, std::int64_t all) {
                       EXPECT_GT(done, last);
                       EXPECT_EQ(all, total);
                       last = done;
                     });
    EXPECT_EQ(last, total);
    EXPECT_THAT(file_names(directory.path()), ElementsAre("model.safetensors"));
    SafetensorsSource read(directory.path(), kDeclarations);
    expect_equal(read, source);
    EXPECT_EQ(read.stored_dtype("embed"), dtype);
  }
}

TEST(CheckpointWriterTest, ShardsAreNamedCountedAndIndexed) {
  const TemporaryDirectory directory;
  DummySource source(kDeclarations, /*seed=*/9);
  write_checkpoint(directory.path(), kDeclarations, source,
                   {DType::kBFloat16, /*max_shard_bytes=*/2542}, [](auto, auto) {});
  // embed and b.weight are larger than a shard; a.weight, a.bias and norm.weight fill one to the
  // last byte.
  EXPECT_THAT(file_names(directory.path()),
              ElementsAre("model-00001-of-00004.safetensors", "model-00002-of-00004.safetensors",
                          "model-00003-of-00004.safetensors", "model-00004-of-00004.safetensors",
                          "model.safetensors.index.json"));
  std::ifstream in(directory.path() / "model.safetensors.index.json");
  const nlohmann::json index = nlohmann::json::parse(in);
  EXPECT_EQ(index["metadata"]["total_size"], checkpoint_bytes(kDeclarations, DType::kBFloat16));
  EXPECT_EQ(index["weight_map"]["a.bias"], "model-00002-of-00004.safetensors");
  SafetensorsSource read(directory.path(), kDeclarations);
  expect_equal(read, source);
}

TEST(CheckpointWriterTest, AnUnwritableFileIsADeviceError) {
  DummySource source(kDeclarations, /*seed=*/9);
  EXPECT_ERROR(write_checkpoint("/nowhere/at/all", kDeclarations, source, {}, [](auto, auto) {}),
               kDevice);
}

}  // namespace
}  // namespace tessera
