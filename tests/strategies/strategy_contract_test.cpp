#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <random>

#include "strategies/strategy_registry.h"
#include "tests/support/sanitizers.h"
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

ModelFacts random_facts(std::mt19937& rng, const StrategyEntry& entry) {
  ModelFacts facts;
  facts.vocab_size = 48;
  facts.tokenizer_size = 45;
  facts.mask_id = 44;
  facts.canvas_length = 1 + static_cast<std::int32_t>(rng() % 8);
  facts.shifted = rng() % 2 == 0;
  if (!entry.refusal(facts).empty()) facts.shifted = false;
  return facts;
}

/// Random values for those of the options that the strategy declares.
OptionValues random_options(std::mt19937& rng, const StrategyEntry& entry) {
  OptionValues options{{"block_size", pick(rng, {1, 2, 4, 8})},
                       {"buffer_size", pick(rng, {1, 2, 3, 8})},
                       {"accept_threshold", 0.1 * static_cast<double>(rng() % 10)},
                       {"add_block_threshold", 0.1 + 0.1 * static_cast<double>(rng() % 9)},
                       {"semi_complete_threshold", 0.1 * static_cast<double>(rng() % 10)},
                       {"edit_threshold", 0.1 * static_cast<double>(rng() % 10)},
                       {"max_post_edit_steps", pick(rng, {6, 16})},
                       {"penalty_lambda", 0.5 * static_cast<double>(rng() % 3)},
                       {"use_block_cache", rng() % 2 == 0},
                       {"max_denoising_steps", pick(rng, {1, 2, 6})},
                       {"entropy_bound", -1.0 + static_cast<double>(rng() % 4)},
                       {"confidence_threshold", 0.5 * static_cast<double>(rng() % 4)},
                       {"token_merge_top_k", pick(rng, {1, 3})}};
  if (rng() % 2 == 0) options["token_merge_mode"] = std::string("iter_smooth_topk");
  std::erase_if(options, [&](const auto& option) {
    return std::ranges::find(entry.options, option.first, &OptionSpec::name) == entry.options.end();
  });
  for (const OptionSpec& spec : entry.options) {  // where the strategy asks for more
    auto* value = options.contains(spec.name) ? &options.find(spec.name)->second : nullptr;
    if (value == nullptr || spec.type != OptionType::kInteger) continue;
    *value = std::max(std::get<std::int64_t>(*value), static_cast<std::int64_t>(spec.minimum));
  }
  return options;
}

Scenario random_scenario(std::uint32_t seed, const StrategyEntry& entry) {
  std::mt19937 rng(seed);
  Scenario s;
  s.facts = random_facts(rng, entry);
  s.strategy = create_strategy(entry.name, s.facts, random_options(rng, entry));
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
      ASSERT_EQ(std::count(frozen.begin() + sequence.prompt_len, frozen.end(),
                           s.facts.mask_id.value_or(-1)),
                0);
    }
  });
}

/// What the worst model could answer: everything is `token`, with certainty.
std::vector<Measurement> certain(const Span& span, TokenId token) {
  std::vector<Measurement> measurements;
  for (const Measure& measure : span.measures) {
    measurements.push_back({.position = measure.position,
                            .token = token,
                            .confidence = 1.0F,
                            .plain_confidence = 1.0F,
                            .alternatives = {},
                            .greedy_token = token,
                            .entropy = 0.0F});
    measurements.back().alternatives.assign(static_cast<std::size_t>(measure.num_alternatives),
                                            {token, 0.1F});
  }
  return measurements;
}

/// The token that position q gets if the model answers `token` from now on.
TokenId token_in_the_end(const Strategy& strategy, Sequence sequence, Position q, TokenId token) {
  while (sequence.frontier <= q) {
    const Span span = strategy.plan(sequence);
    strategy.apply(sequence, span, certain(span, token));
  }
  return sequence.tokens[static_cast<std::size_t>(q)];
}

// The position at the frontier can still become anything, unless its row has left the forward.
TEST_P(StrategyContractTest, NothingIsWithheldThatCouldBeFrozen) {
  for_each_scenario([](const Scenario& s, std::uint32_t seed) {
    SpanRunner runner(s.facts, seed, /*page_size=*/8);
    SequenceLimits limits = s.limits;
    limits.eos_ids.clear();
    Sequence sequence = s.strategy->start(s.prompt, s.sampling, limits, 0);
    while (!sequence.finish.has_value()) {
      const Span span = s.strategy->plan(sequence);
      s.strategy->apply(sequence, span, runner.run(span));
      if (sequence.finish.has_value() || sequence.num_steps % 3 != 0) continue;
      const Position q = sequence.frontier;
      // A step that ends a block because it was edited for long enough changes nothing more.
      if (!sequence.blocks.empty() && sequence.blocks.front().post_edit_steps >= 4) continue;
      const bool is_carried = !sequence.carried.empty() && sequence.carried.front().position == q;
      if (is_carried) continue;
      ASSERT_EQ(token_in_the_end(*s.strategy, sequence, q, 10), 10) << "position " << q;
      ASSERT_EQ(token_in_the_end(*s.strategy, sequence, q, 11), 11) << "position " << q;
    }
  });
}

// A cached page stands for rows that are forwarded anew: with a prefix hit nothing changes.
TEST_P(StrategyContractTest, ACachedPrefixChangesNothing) {
  for_each_scenario([](const Scenario& s, std::uint32_t seed) {
    const auto& rule = s.strategy->traits().prefix_rule;
    if (!rule) return;
    const Position reusable =
        s.strategy->reusable_prefix_len(static_cast<Position>(s.prompt.size()));
    const Position cached = reusable / 2 / rule->unit * rule->unit;
    std::vector<std::vector<TokenId>> outputs;
    for (const Position cached_len : {0, cached, reusable}) {
      SpanRunner runner(s.facts, seed, /*page_size=*/8);
      Sequence sequence = s.strategy->start(s.prompt, s.sampling, s.limits, cached_len);
      if (cached_len > 0) {
        // Another request with the same prompt stored it.
        Sequence other = s.strategy->start(s.prompt, s.sampling, s.limits, 0);
        while (other.cached_len < cached_len && !other.finish) {
          const Span span = s.strategy->plan(other);
          s.strategy->apply(other, span, runner.run(span));
        }
        if (other.cached_len < cached_len) return;
      }
      while (!sequence.finish.has_value()) {
        const Span span = s.strategy->plan(sequence);
        s.strategy->apply(sequence, span, runner.run(span));
      }
      outputs.push_back(prefix_of(sequence, sequence.output_end));
    }
    ASSERT_EQ(outputs[1], outputs[0]);
    ASSERT_EQ(outputs[2], outputs[0]);
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

// engine_spec 10.1, 11: a sequence is a value. A copy taken in the middle holds all of it, and what
// becomes of one does not touch the other.
TEST_P(StrategyContractTest, ACopyTakenInTheMiddleGoesOnLikeTheOriginal) {
  for_each_scenario([](const Scenario& s, std::uint32_t seed) {
    SpanRunner runner(s.facts, seed, 8);
    Sequence sequence = s.strategy->start(s.prompt, s.sampling, s.limits, 0);
    std::vector<Sequence> copies;
    std::vector<std::vector<Measurement>> measured;
    while (!sequence.finish.has_value()) {
      copies.push_back(sequence);
      const Span span = s.strategy->plan(sequence);
      measured.push_back(runner.run(span));
      s.strategy->apply(sequence, span, measured.back());
    }
    for (std::size_t first = 0; first < copies.size(); ++first) {
      Sequence copy = copies[first];
      for (std::size_t step = first; step < measured.size(); ++step) {
        ASSERT_FALSE(copy.finish.has_value());
        s.strategy->apply(copy, s.strategy->plan(copy), measured[step]);
      }
      ASSERT_EQ(copy.tokens, sequence.tokens) << "from step " << first;
      ASSERT_EQ(copy.finish, sequence.finish);
      ASSERT_EQ(copy.num_steps, sequence.num_steps);
      ASSERT_EQ(copy.output_end, sequence.output_end);
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
                       ::testing::Range<std::uint32_t>(0, repetitions(10U, 3U))));

}  // namespace
}  // namespace tessera
