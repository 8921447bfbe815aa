#include <gtest/gtest.h>

#include <random>

#include "common/base/error.h"
#include "common/wire/codec.h"
#include "tests/common/wire/random_frames.h"

namespace tessera::wire {
namespace {

constexpr int kNumFrames = 4000;

/// Anything may come out of a damaged frame except a crash or another exception.
void expect_decoded_or_refused(std::span<const std::byte> bytes) {
  try {
    decode(bytes);
  } catch (const Error& error) {
    ASSERT_EQ(error.code(), ErrorCode::kTransport) << error.what();
  }
}

Bytes random_frame(std::mt19937_64& rng) {
  const auto shape = testing::kPlanShapes[rng() % std::size(testing::kPlanShapes)];
  switch (rng() % 4) {
    case 0: return encode(testing::random_result(rng));
    case 1: return encode(rng(), Hello{"job", "secret", 1, 2, "host", "avx2", "digest", 1, 2});
    default: return encode(testing::random_plan(shape, rng));
  }
}

TEST(CodecFuzzTest, SurvivesFlippedBits) {
  std::mt19937_64 rng(/*seed=*/101);
  for (int i = 0; i < kNumFrames; ++i) {
    Bytes bytes = random_frame(rng);
    for (std::uint64_t flips = 1 + rng() % 8; flips > 0; --flips) {
      bytes[rng() % bytes.size()] ^= std::byte{1} << (rng() % 8);
    }
    expect_decoded_or_refused(bytes);
  }
}

TEST(CodecFuzzTest, SurvivesDamagedPointers) {
  std::mt19937_64 rng(/*seed=*/102);
  for (int i = 0; i < kNumFrames; ++i) {
    Bytes bytes = random_frame(rng);
    // Words full of ones and zeros where pointers and counts are: near the start.
    const std::size_t word = rng() % std::min<std::size_t>(bytes.size() / 8, 64);
    const auto fill = std::byte(rng() % 2 == 0 ? 0xFF : rng() % 256);
    std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(word * 8), 1 + rng() % 8, fill);
    expect_decoded_or_refused(bytes);
  }
}

TEST(CodecFuzzTest, SurvivesTruncationAndGrowth) {
  std::mt19937_64 rng(/*seed=*/103);
  for (int i = 0; i < kNumFrames; ++i) {
    Bytes bytes = random_frame(rng);
    bytes.resize(rng() % (bytes.size() + 64));
    expect_decoded_or_refused(bytes);
  }
}

TEST(CodecFuzzTest, SurvivesRandomBytes) {
  std::mt19937_64 rng(/*seed=*/104);
  for (int i = 0; i < kNumFrames; ++i) {
    Bytes bytes(rng() % 512);
    for (std::byte& byte : bytes) byte = std::byte(rng() % 256);
    expect_decoded_or_refused(bytes);
  }
}

}  // namespace
}  // namespace tessera::wire
