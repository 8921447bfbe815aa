#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <random>

#include "strategies/strategy_registry.h"
#include "tests/support/span_runner.h"

namespace tessera {
namespace {

/// A request of random geometry, thresholds and alignment.
struct Scenario {
  ModelFacts facts;
  std::unique_ptr<const Strategy> strategy;
  std::vector<TokenId> prompt;
  SamplingParams sampling;
  SequenceLimits limits;
};

template <typename Rng>
std::int64_t pick(Rng& rng, std::initializer_list<std::int64_t> values) {
  return values.begin()[rng() % values.size()];
}

Scenario random_scenario(std::uint32_t seed, const StrategyEntry& entry) {
  std::mt19937 rng(seed);
  Scenario s;
  s.facts.vocab_size = 48;
  s.facts.tokenizer_size = 45;
  s.facts.mask_id = 44;
  s.facts.shifted = rng() % 2 == 0;
  OptionValues options{{"block_size", pick(rng, {1, 2, 4, 8})},
                       {"buffer_size", pick(rng, {1, 2, 3, 8})},
                       {"accept_threshold", 0.1 * static_cast<double>(rng() % 10)},
                       {"add_block_threshold", 0.1 + 0.1 * static_cast<double>(rng() % 9)},
                       {"semi_complete_threshold", 0.1 * static_cast<double>(rng() % 10)}};
  s.strategy = create_strategy(entry.name, s.facts, options);
  s.prompt.resize(1 + rng() % 30);
  for (TokenId& token : s.prompt) token = static_cast<TokenId>(rng() % 45);  // masks, EOS as well
  s.sampling.temperature = rng() % 2 == 0 ? 0.0F : 0.8F;
  s.sampling.seed = rng();
  s.limits.max_tokens = 1 + static_cast<std::int32_t>(rng() % 40);
  s.limits.max_model_len = 1000;
  if (rng() % 2 == 0) s.limits.eos_ids = {1, 2};
  return s;
}

class StrategyContractTest
    : public ::testing::TestWithParam<std::tuple<std::size_t, std::uint32_t>> {
 protected:
  static constexpr std::uint32_t kScenariosPerCase = 40;

  void for_each_scenario(const std::function<void(const Scenario&, std::uint32_t)>& check) {
    const StrategyEntry& entry = strategy_registry()[std::get<0>(GetParam())];
    for (std::uint32_t i = 0; i < kScenariosPerCase && !HasFailure(); ++i) {
      const std::uint32_t seed = std::get<1>(GetParam()) * kScenariosPerCase + i;
      SCOPED_TRACE(::testing::Message() << entry.name << ", seed " << seed);
      check(random_scenario(seed, entry), seed);
    }
  }
};

std::vector<TokenId> prefix_of(const Sequence& sequence, Position end) {
  return {sequence.tokens.begin(), sequence.tokens.begin() + end};
}

TEST_P(StrategyContractTest, NothingLeftOfTheFrontierEverChanges) {
  for_each_scenario([](const Scenario& s, std::uint32_t seed) {
    SpanRunner runner(s.facts, seed, /*page_size=*/8);
    Sequence sequence = s.strategy->start(s.prompt, s.sampling, s.limits, 0);
    std::vector<TokenId> frozen = prefix_of(sequence, sequence.frontier);
    while (!sequence.finish.has_value()) {
      const Span span = s.strategy->plan(sequence);
      check_span(span);
      s.strategy->apply(sequence, span, runner.run(span));
      ASSERT_GE(sequence.frontier, static_cast<Position>(frozen.size()));
      ASSERT_EQ(prefix_of(sequence, static_cast<Position>(frozen.size())), frozen);
      frozen = prefix_of(sequence, sequence.frontier);
      ASSERT_EQ(std::count(frozen.begin() + sequence.prompt_len, frozen.end(), *s.facts.mask_id),
                0);
    }
  });
}

TEST_P(StrategyContractTest, MaxTokensYieldsThatManyForEveryAlignment) {
  for_each_scenario([](const Scenario& s, std::uint32_t seed) {
    SpanRunner runner(s.facts, seed, 8);
    SequenceLimits limits = s.limits;
    limits.eos_ids.clear();
    Sequence sequence = s.strategy->start(s.prompt, s.sampling, limits, 0);
    while (!sequence.finish.has_value()) {
      const Span span = s.strategy->plan(sequence);
      s.strategy->apply(sequence, span, runner.run(span));
    }
    EXPECT_EQ(sequence.finish, FinishReason::kMaxTokens);
    EXPECT_EQ(sequence.output_end - sequence.prompt_len, limits.max_tokens);
  });
}

TEST_P(StrategyContractTest, PlanIsPureAndApplyIsDeterministic) {
  for_each_scenario([](const Scenario& s, std::uint32_t seed) {
    SpanRunner runner(s.facts, seed, 8);
    Sequence sequence = s.strategy->start(s.prompt, s.sampling, s.limits, 0);
    while (!sequence.finish.has_value()) {
      const Span span = s.strategy->plan(sequence);
      ASSERT_EQ(span, s.strategy->plan(sequence));
      const std::vector<Measurement> measured = runner.run(span);
      Sequence twin = sequence;
      s.strategy->apply(sequence, span, measured);
      s.strategy->apply(twin, span, measured);
      ASSERT_EQ(twin.tokens, sequence.tokens);
      ASSERT_EQ(twin.frontier, sequence.frontier);
      ASSERT_EQ(twin.finish, sequence.finish);
    }
  });
}

TEST_P(StrategyContractTest, AStepFitsTheBufferItDeclares) {
  for_each_scenario([](const Scenario& s, std::uint32_t seed) {
    SpanRunner runner(s.facts, seed, 8);
    Sequence sequence = s.strategy->start(s.prompt, s.sampling, s.limits, 0);
    while (!sequence.finish.has_value()) {
      const bool first_step = sequence.num_steps == 0;
      const Span span = s.strategy->plan(sequence);
      if (!first_step) {
        ASSERT_LE(span.num_rows(), s.strategy->traits().max_buffer_rows);
      }
      s.strategy->apply(sequence, span, runner.run(span));
    }
  });
}

INSTANTIATE_TEST_SUITE_P(
    Registry,
    StrategyContractTest,
    ::testing::Combine(::testing::Range<std::size_t>(0, strategy_registry().size()),
                       ::testing::Range<std::uint32_t>(0, 10)));

}  // namespace
}  // namespace tessera
