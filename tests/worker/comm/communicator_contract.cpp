#include "tests/worker/comm/communicator_contract.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cstring>
#include <random>
#include <vector>

#include "common/base/error.h"

namespace tessera::testing {
namespace {

// Around the limits of the implementations (16 and 4096 floats; slots of 256 KiB and 1 MiB), a
// step's (512 x 1024 floats), and of no particular kind.
constexpr std::size_t kSizes[] = {0,     1,     2,     7,      15,     16,     17,
                                  100,   1000,  4095,  4096,   4097,   4112,   65535,
                                  65536, 65537, 69632, 262143, 262144, 262145, 524301};
constexpr std::size_t kByteSizes[] = {0, 1, 12, 4099, 262144, 262145, 1048576, 1048577};

constexpr float kGuard = 12345.0F;
constexpr int kMaxShares = 8;

// Counter-based: splitmix64 of what is asked for.
std::uint64_t random_bits(std::uint32_t seed, std::int32_t rank, std::size_t index) {
  std::uint64_t x = (std::uint64_t{seed} << 40) + (static_cast<std::uint64_t>(rank) << 36) + index;
  x = (x + 0x9E3779B97F4A7C15ULL) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

// Floats of both signs and many magnitudes, whose sums depend on the order.
std::vector<float> floats_of(std::uint32_t seed, std::int32_t rank, std::size_t count) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t bits = random_bits(seed, rank, i);
    const auto exponent = static_cast<std::uint32_t>(115 + (bits >> 32) % 24);
    values[i] =
        std::bit_cast<float>((static_cast<std::uint32_t>(bits) & 0x807FFFFFU) | (exponent << 23));
  }
  return values;
}

std::vector<std::byte> bytes_of(std::uint32_t seed, std::int32_t rank, std::size_t count) {
  std::vector<std::byte> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    values[i] = static_cast<std::byte>(random_bits(seed, rank, i / 8) >> (i % 8 * 8));
  }
  return values;
}

// The sum of inputs[first, first + count) along the tree.
std::vector<float> tree(const std::vector<std::vector<float>>& inputs,
                        std::size_t first,
                        std::size_t count) {
  if (count == 1) return inputs[first];
  std::vector<float> left = tree(inputs, first, count / 2);
  const std::vector<float> right = tree(inputs, first + count / 2, count / 2);
  for (std::size_t i = 0; i < left.size(); ++i) left[i] += right[i];
  return left;
}

std::vector<std::vector<float>> inputs_of(std::uint32_t seed, std::int32_t ranks, std::size_t n) {
  std::vector<std::vector<float>> inputs;
  for (std::int32_t r = 0; r < ranks; ++r) inputs.push_back(floats_of(seed, r, n));
  return inputs;
}

bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size_bytes()) == 0);
}

// Reduces values that lie at an odd address between guards.
std::vector<float> reduce(Communicator& communicator, const std::vector<float>& values) {
  std::vector<float> guarded(values.size() + 2, kGuard);
  std::copy(values.begin(), values.end(), guarded.begin() + 1);
  communicator.all_reduce_tree({guarded.data() + 1, values.size()});
  EXPECT_EQ(guarded.front(), kGuard);
  EXPECT_EQ(guarded.back(), kGuard);
  return {guarded.begin() + 1, guarded.end() - 1};
}

void check_tree(Communicator& communicator, std::uint32_t seed, std::size_t count) {
  const auto inputs = inputs_of(seed, communicator.size(), count);
  const auto expected = tree(inputs, 0, inputs.size());
  EXPECT_TRUE(same_bits(reduce(communicator, inputs[communicator.rank()]), expected))
      << count << " floats, rank " << communicator.rank() << " of " << communicator.size();
}

void check_sum(Communicator& communicator, std::uint32_t seed, std::size_t count) {
  std::vector<std::uint64_t> mine;
  std::vector<std::uint64_t> expected(count, 0);
  for (std::int32_t r = 0; r < communicator.size(); ++r) {
    std::vector<std::uint64_t> values(count);
    for (std::size_t i = 0; i < count; ++i) expected[i] += values[i] = random_bits(seed, r, i);
    if (r == communicator.rank()) mine = std::move(values);
  }
  communicator.all_reduce_sum(mine);
  EXPECT_EQ(mine, expected) << count << " integers";
}

void check_gather(Communicator& communicator, std::uint32_t seed, std::size_t count) {
  std::vector<std::byte> expected;
  for (std::int32_t r = 0; r < communicator.size(); ++r) {
    const auto theirs = bytes_of(seed, r, count);
    expected.insert(expected.end(), theirs.begin(), theirs.end());
  }
  std::vector<std::byte> all(expected.size());
  communicator.all_gather(bytes_of(seed, communicator.rank(), count), all);
  EXPECT_EQ(all, expected) << count << " bytes";
}

void check_broadcast(Communicator& communicator, std::uint32_t seed, std::size_t count) {
  const auto root =
      static_cast<std::int32_t>(seed % static_cast<std::uint32_t>(communicator.size()));
  auto bytes = bytes_of(seed, communicator.rank(), count);
  communicator.broadcast(bytes, root);
  EXPECT_EQ(bytes, bytes_of(seed, root, count)) << count << " bytes from " << root;
}

// Keeps this rank busy, so that it is late.
void dawdle(std::chrono::microseconds time) {
  const auto end = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < end) {
  }
}

void all_reduce_follows_the_tree(Communicator& communicator) {
  std::uint32_t seed = 1;
  for (const std::size_t count : kSizes) check_tree(communicator, ++seed, count);
}

void number_of_ranks_does_not_matter(Communicator& communicator) {
  const std::size_t per_rank = kMaxShares / static_cast<std::size_t>(communicator.size());
  for (const std::size_t count : {5UL, 3000UL, 70000UL}) {
    const auto shares = inputs_of(/*seed=*/99, kMaxShares, count);
    const auto first = per_rank * static_cast<std::size_t>(communicator.rank());
    const auto sum = reduce(communicator, tree(shares, first, per_rank));
    EXPECT_TRUE(same_bits(sum, tree(shares, 0, kMaxShares))) << count << " floats";
  }
}

void integers_add_modulo_two_to_the_64(Communicator& communicator) {
  std::uint32_t seed = 1;
  for (const std::size_t count : {0UL, 1UL, 9UL, 2048UL, 32768UL, 32769UL, 131073UL}) {
    check_sum(communicator, ++seed, count);
  }
}

void gathers_in_the_order_of_ranks(Communicator& communicator) {
  std::uint32_t seed = 1;
  for (const std::size_t count : kByteSizes) {
    check_gather(communicator, ++seed, count);
  }
}

void any_rank_may_broadcast(Communicator& communicator) {
  std::uint32_t seed = 0;
  for (const std::size_t count : kByteSizes) {
    for (int root = 0; root < communicator.size(); ++root) {
      check_broadcast(communicator, ++seed, count);
    }
  }
}

// Every rank is late at times, and the same memory is used over and over.
void random_calls_with_a_late_rank_stay_in_step(Communicator& communicator) {
  std::mt19937 generator(7);
  for (std::uint32_t call = 1; call <= 200; ++call) {
    const std::uint32_t kind = generator() % 5;
    const std::size_t count = generator() % (generator() % 8 == 0 ? 90000 : 300);
    const bool is_late = generator() % 8 == 0;
    const auto late =
        static_cast<std::int32_t>(generator() % static_cast<std::uint32_t>(communicator.size()));
    if (is_late && late == communicator.rank()) dawdle(std::chrono::microseconds(300));
    switch (kind) {
      case 0: check_tree(communicator, call, count); break;
      case 1: check_sum(communicator, call, count); break;
      case 2: check_gather(communicator, call, count); break;
      case 3: check_broadcast(communicator, call, count); break;
      default: communicator.barrier();
    }
  }
}

void a_rank_that_comes_late_is_waited_for(Communicator& communicator) {
  for (std::int32_t late = 0; late < communicator.size(); ++late) {
    if (late == communicator.rank()) dawdle(std::chrono::milliseconds(10));
    check_tree(communicator, 5, 10);
    if (late == communicator.rank()) dawdle(std::chrono::milliseconds(10));
    check_tree(communicator, 6, 100000);
  }
}

void wrong_arguments_are_refused(Communicator& communicator) {
  std::array<std::byte, 3> bytes{};
  const std::size_t wrong = bytes.size() * static_cast<std::size_t>(communicator.size()) + 1;
  std::vector<std::byte> all(wrong);
  EXPECT_THROW(communicator.all_gather(bytes, all), Error);
  EXPECT_THROW(communicator.broadcast(bytes, communicator.size()), Error);
  EXPECT_THROW(communicator.broadcast(bytes, -1), Error);
  communicator.barrier();  // nothing was said to the others
}

constexpr ContractCase kCases[] = {
    {"AllReduceFollowsTheTree", all_reduce_follows_the_tree},
    {"NumberOfRanksDoesNotMatter", number_of_ranks_does_not_matter},
    {"IntegersAddModuloTwoToThe64", integers_add_modulo_two_to_the_64},
    {"GathersInTheOrderOfRanks", gathers_in_the_order_of_ranks},
    {"AnyRankMayBroadcast", any_rank_may_broadcast},
    {"RandomCallsWithALateRankStayInStep", random_calls_with_a_late_rank_stay_in_step},
    {"ARankThatComesLateIsWaitedFor", a_rank_that_comes_late_is_waited_for},
    {"WrongArgumentsAreRefused", wrong_arguments_are_refused},
};

constexpr CollectiveCall kCalls[] = {
    {"all_reduce_tree",
     [](Communicator& communicator) {
       std::vector<float> values(100000, 1.0F);
       communicator.all_reduce_tree(values);
     }},
    {"all_reduce_sum",
     [](Communicator& communicator) {
       std::vector<std::uint64_t> values(3, 1);
       communicator.all_reduce_sum(values);
     }},
    {"all_gather",
     [](Communicator& communicator) {
       const std::vector<std::byte> mine(4);
       std::vector<std::byte> all(4 * static_cast<std::size_t>(communicator.size()));
       communicator.all_gather(mine, all);
     }},
    {"broadcast",
     [](Communicator& communicator) {
       std::vector<std::byte> bytes(300000);
       communicator.broadcast(bytes, 0);
     }},
    {"barrier", [](Communicator& communicator) { communicator.barrier(); }},
};

}  // namespace

std::span<const ContractCase> communicator_contract() {
  return kCases;
}

std::span<const CollectiveCall> collective_calls() {
  return kCalls;
}

void expect_absence_is_named(Communicator& communicator,
                             const CollectiveCall& call,
                             std::int32_t absent) {
  const std::string expected =
      "rank " + std::to_string(absent) + " did not come to " + call.name + " within";
  try {
    call.run(communicator);
    ADD_FAILURE() << call.name << " returned without rank " << absent;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kDevice);
    EXPECT_THAT(error.what(), ::testing::HasSubstr(expected));
  }
  EXPECT_THROW(communicator.barrier(), Error) << "its rounds no longer match";
}

}  // namespace tessera::testing
