#include "worker/weights/safetensors_header.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "tests/worker/weights/test_checkpoint.h"

namespace tessera {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::vector<SafetensorsEntry> parse(const std::string& file) {
  return parse_safetensors_header(std::as_bytes(std::span(file)), "some.safetensors");
}

std::string refusal(const std::string& header, std::size_t data_bytes) {
  return refusal_of([&] { parse(file_with_header(header, std::string(data_bytes, 'x'))); });
}

TEST(SafetensorsHeaderTest, EntriesComeInTheOrderOfTheDataWithOffsetsOfTheFile) {
  const std::string header = R"({"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},)"
                             R"("__metadata__":{"format":"pt"},)"
                             R"("a":{"shape":[],"data_offsets":[0,4],"dtype":"F32"},)"
                             R"("empty":{"shape":[0,7],"data_offsets":[16,16],"dtype":"I64"}}   )";
  const auto entries = parse(file_with_header(header, std::string(16, 'x')));
  ASSERT_EQ(entries.size(), 3);
  EXPECT_EQ(entries[0].name, "a");
  EXPECT_EQ(entries[1].name, "b");
  EXPECT_EQ(entries[1].dtype, "BF16");
  EXPECT_EQ(entries[1].shape, (std::vector<std::int64_t>{2, 3}));
  const auto data_begin = static_cast<std::int64_t>(8 + header.size());
  EXPECT_EQ(entries[1].begin, data_begin + 4);
  EXPECT_EQ(entries[1].end, data_begin + 16);
  EXPECT_EQ(entries[2].begin, entries[2].end);
}

TEST(SafetensorsHeaderTest, TruncatedFilesAreRefusedAtEveryLength) {
  const std::string file =
      file_with_tensors({random_tensor("a", "BF16", {3, 5}, 1), random_tensor("b", "F32", {7}, 2)});
  ASSERT_EQ(parse(file).size(), 2);
  for (std::size_t length = 0; length < file.size(); ++length) {
    const std::string what = refusal_of([&] { parse(file.substr(0, length)); });
    EXPECT_THAT(what, HasSubstr("some.safetensors")) << "cut to " << length << " bytes";
  }
  EXPECT_THAT(refusal_of([&] { parse(file + "x"); }), HasSubstr("the tensors end at"));
}

TEST(SafetensorsHeaderTest, LengthsBeyondTheLimitOrTheFileAreRefused) {
  std::string file = file_with_header("{}", "");
  EXPECT_TRUE(parse(file).empty());
  file[7] = '\x7F';
  EXPECT_THAT(refusal_of([&] { parse(file); }), HasSubstr("allowed are at most 100000000"));
  file[7] = 0;
  file[2] = 1;
  EXPECT_THAT(refusal_of([&] { parse(file); }), HasSubstr("truncated"));
}

TEST(SafetensorsHeaderTest, OffsetsMustMatchTypeShapeAndFile) {
  const auto one = [](const std::string& dtype, const std::string& shape, const std::string& at) {
    return R"({"a":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + at +
           "}}";
  };
  EXPECT_EQ(refusal(one("F16", "[2,2]", "[0,8]"), 8), "");
  EXPECT_THAT(refusal(one("F16", "[2,2]", "[0,6]"), 6),
              AllOf(HasSubstr("'a'"), HasSubstr("[2, 2] needs 8 bytes"), HasSubstr("[0, 6)")));
  EXPECT_THAT(refusal(one("F16", "[2,2]", "[8,0]"), 8), HasSubstr("needs 8 bytes"));
  EXPECT_THAT(refusal(one("F16", "[2,2]", "[0,8]"), 7), HasSubstr("truncated"));
  EXPECT_THAT(refusal(one("F16", "[2,2]", "[2,10]"), 10), HasSubstr("there is a gap"));
  EXPECT_THAT(refusal(one("F16", "[2,2]", "[0,8]"), 9), HasSubstr("the file has 9"));
  EXPECT_THAT(refusal(one("Q4", "[2,2]", "[0,8]"), 8), HasSubstr("unknown type Q4"));
  EXPECT_THAT(refusal(one("F16", "[4294967296,4294967296]", "[0,0]"), 0),
              HasSubstr("larger than any file"));
  EXPECT_THAT(refusal(one("F16", "[18446744073709551615]", "[0,0]"), 0), HasSubstr("too large"));
  EXPECT_THAT(refusal(one("F16", "[2]", "[0,4,8]"), 4), HasSubstr("3 entries, expected 2"));
}

TEST(SafetensorsHeaderTest, OverlapsAreRefused) {
  const std::string header = R"({"a":{"dtype":"U8","shape":[6],"data_offsets":[0,6]},)"
                             R"("b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})";
  EXPECT_THAT(refusal(header, 8), AllOf(HasSubstr("'b'"), HasSubstr("overlaps")));
}

TEST(SafetensorsHeaderTest, WhatIsNotTheFormatIsRefused) {
  const std::string entry = R"({"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  for (const std::string& header : std::vector<std::string>{
           "",
           "   {}",
           "[]",
           "{",
           "{} x",
           R"({"a":)" + entry + R"(,"a":)" + entry + "}",
           R"({"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
           R"({"a":{"dtype":"U8","shape":[1]}})",
           R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"extra":1}})",
           R"({"a":{"dtype":8,"shape":[1],"data_offsets":[0,1]}})",
           R"({"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}})",
           R"({"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}})",
           R"({"a":{"dtype":"U8","shape":[[1]],"data_offsets":[0,1]}})",
           R"({"a":{"dtype":"U8","shape":{"x":1},"data_offsets":[0,1]}})",
           R"({"a":{"dtype":["U8"],"shape":[1],"data_offsets":[0,1]}})",
           R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[true,1]}})",
           R"({"a":{"dtype":"U8","shape":null,"data_offsets":[0,1]}})",
           R"({"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}})",
           R"({"a":1})",
           R"({"a":[]})",
           R"({"__metadata__":{"x":1}})",
           R"({"__metadata__":{"x":{}}})",
           "{\"\xFF\":" + entry + "}",
           std::string(100'000, '['),
           R"({"a":)" + std::string(100'000, '[')}) {
    EXPECT_THAT(refusal(header, 1), HasSubstr("some.safetensors")) << header.substr(0, 100);
  }
}

// A mutated file is refused, or every tensor that comes out lies inside it and matches its type.
TEST(SafetensorsHeaderTest, MutatedHeadersAreRefusedOrHarmless) {
  const std::string good = file_with_tensors({random_tensor("layers.0.weight", "BF16", {4, 6}, 1),
                                              random_tensor("norm", "F32", {6}, 2),
                                              random_tensor("x", "F16", {1, 3}, 3)});
  const std::size_t header_end = good.size() - 78;
  const std::string alphabet = "{}[]\",:0123456789-.eE \\utrfalsnBF";
  std::mt19937 rng(/*seed=*/20251);
  int num_refused = 0;
  int num_read = 0;
  for (int round = 0; round < 60'000; ++round) {
    std::string file = good;
    for (std::uint32_t edits = 1 + rng() % 3; edits > 0; --edits) {
      const std::size_t at = rng() % std::min(header_end, file.size());
      const char letter =
          rng() % 4 == 0 ? static_cast<char>(rng()) : alphabet[rng() % alphabet.size()];
      switch (rng() % 4) {
        case 0: file[at] = letter; break;
        case 1: file.insert(at, 1, letter); break;
        case 2: file.erase(at, 1 + rng() % 4); break;
        default: file[rng() % 8] = static_cast<char>(rng() % 8 == 0 ? rng() : 0); break;
      }
    }
    const std::string what = refusal_of([&] {
      std::int64_t covered = -1;
      for (const SafetensorsEntry& entry : parse(file)) {
        ASSERT_LE(entry.begin, entry.end);
        ASSERT_LE(entry.end, static_cast<std::int64_t>(file.size()));
        ASSERT_GE(entry.begin, std::max<std::int64_t>(covered, 8));
        covered = entry.end;
      }
      ++num_read;
    });
    num_refused += what.empty() ? 0 : 1;
  }
  EXPECT_GT(num_refused, 1000);
  EXPECT_GT(num_read, 10) << "names and dtypes of equal size may be changed";
}

}  // namespace
}  // namespace tessera
