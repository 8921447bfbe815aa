#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>

#include "strategies/multi_bd/multi_bd.h"
#include "strategies/templates/block_buffer.h"
#include "tests/support/error_matchers.h"
#include "tests/support/span_runner.h"

// Invariants of blocks and of the end of a sequence (engine_spec sections 10.1 and 10.2) over
// random geometries, thresholds, prompts and seeds of strategies with a block buffer.
namespace tessera {
namespace {

struct BlockScenario {
  ModelFacts facts;
  std::unique_ptr<const Strategy> strategy;
  std::vector<TokenId> prompt;
  SequenceLimits limits;
  std::uint64_t seed = 0;
};

BlockScenario random_scenario(std::uint32_t seed) {
  std::mt19937 rng(seed);
  BlockScenario s;
  s.seed = seed;
  s.facts.vocab_size = 48;
  s.facts.tokenizer_size = 45;
  s.facts.mask_id = 44;
  s.facts.shifted = rng() % 2 == 0;
  s.strategy =
      create_strategy("multi_bd", s.facts,
                      {{"block_size", std::int64_t{1} << static_cast<int>(rng() % 4)},
                       {"buffer_size", std::int64_t{1} + static_cast<std::int64_t>(rng() % 5)},
                       {"accept_threshold", 0.1 * static_cast<double>(rng() % 10)},
                       {"add_block_threshold", 0.1 + 0.1 * static_cast<double>(rng() % 9)}});
  s.prompt.resize(1 + rng() % 30);
  for (TokenId& token : s.prompt) token = static_cast<TokenId>(rng() % 45);  // masks, EOS as well
  s.limits.max_tokens = 1 + static_cast<std::int32_t>(rng() % 40);
  s.limits.max_model_len = rng() % 3 == 0 ? static_cast<std::int32_t>(s.prompt.size()) + 9 : 1000;
  if (rng() % 2 == 0) s.limits.eos_ids = {1, 2};
  if (rng() % 4 == 0) s.limits.max_nfe = 1 + static_cast<std::int32_t>(rng() % 20);
  if (rng() % 4 == 0) s.limits.max_repetition_run = 2;
  return s;
}

/// Runs the scenario to its end; `check` sees the sequence before and after each step.
template <typename Check>
Sequence run(const BlockScenario& s, const Check& check) {
  SpanRunner runner(s.facts, s.seed, /*page_size=*/8);
  Sequence sequence = s.strategy->start(s.prompt, {}, s.limits, 0);
  while (!sequence.finish.has_value() && !::testing::Test::HasFatalFailure()) {
    const Sequence before = sequence;
    const Span span = s.strategy->plan(sequence);
    const StepOutcome outcome = s.strategy->apply(sequence, span, runner.run(span));
    check(before, span, outcome, sequence);
  }
  return sequence;
}

template <typename Check>
void for_each_scenario(const Check& check) {
  for (std::uint32_t seed = 0; seed < 400 && !::testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    check(random_scenario(seed));
  }
}

void expect_well_formed_blocks(const BlockScenario& s, const Sequence& sequence) {
  const std::int32_t size = s.strategy->traits().block_size;
  Position expected_begin = sequence.buffer_start;
  bool seen_active = false;
  for (const Block& block : sequence.blocks) {
    ASSERT_EQ(block.positions.size(), size);
    ASSERT_EQ(block.positions.begin, expected_begin) << "blocks are consecutive";
    ASSERT_EQ(block.index * size, block.positions.begin);
    ASSERT_GE(block.editable.begin, std::max(block.positions.begin, sequence.prompt_len));
    ASSERT_LE(block.editable.end, std::min(block.positions.end, sequence.limit));
    std::int32_t masked = 0;
    for (Position q = block.editable.begin; q < block.editable.end; ++q) {
      masked += sequence.tokens[static_cast<std::size_t>(q)] == s.facts.mask_id ? 1 : 0;
    }
    ASSERT_EQ(block.num_masked, masked);
    if (block.phase == BlockPhase::kActive) seen_active = true;
    ASSERT_EQ(block.phase == BlockPhase::kActive, seen_active) << "to_cache* active*";
    ASSERT_TRUE(block.phase == BlockPhase::kActive || block.num_masked == 0);
    expected_begin += size;
  }
  ASSERT_LE(static_cast<std::int32_t>(sequence.blocks.size()) * size,
            s.strategy->traits().max_buffer_rows);
}

// 1, 2, 7, 8, 9
TEST(BlockInvariantsTest, BlocksTileTheBufferInOrderOfTheirPhases) {
  for_each_scenario([](const BlockScenario& s) {
    run(s, [&](const Sequence& before, const Span&, const StepOutcome&, const Sequence& after) {
      expect_well_formed_blocks(s, before);
      ASSERT_TRUE(before.num_steps == 0 || before.cached_len == before.buffer_start);
      if (after.finish) return;
      expect_well_formed_blocks(s, after);
      const auto last_of = [](const Sequence& q) {
        return q.blocks.empty() ? q.buffer_start : q.blocks.back().positions.end;
      };
      ASSERT_LE(last_of(after) - last_of(before), s.strategy->traits().block_size)
          << "at most one block opens in a step";
    });
  });
}

// 4, 10
TEST(BlockInvariantsTest, ABlockIsStoredInTheStepAfterItBecameFinalAndInNoOther) {
  for_each_scenario([](const BlockScenario& s) {
    std::map<BlockIndex, int> final_at;
    run(s,
        [&](const Sequence& before, const Span& span, const StepOutcome& outcome, const Sequence&) {
          const std::int32_t size = s.strategy->traits().block_size;
          const bool is_first = before.num_steps == 0;
          for (const BlockIndex index : outcome.committed) {
            const Position begin = index * size;
            const bool is_stored = std::any_of(
                span.stores.begin(), span.stores.end(), [&](const PositionRange& range) {
                  return range.begin <= begin && begin + size <= range.end;
                });
            ASSERT_TRUE(is_stored);
            if (is_first) continue;
            ASSERT_TRUE(final_at.contains(index));
            ASSERT_EQ(final_at.at(index) + 1, before.num_steps);
          }
          std::int32_t num_stored = 0;
          for (const PositionRange& range : span.stores) num_stored += range.size();
          ASSERT_EQ(num_stored, static_cast<std::int32_t>(outcome.committed.size()) * size)
              << "nothing else is stored";
          for (const BlockIndex index : outcome.to_cache) {
            ASSERT_TRUE(final_at.emplace(index, before.num_steps).second) << "final once";
          }
        });
  });
}

// 2, 18
TEST(BlockInvariantsTest, OnlyMaskedEditablePositionsAreWritten) {
  BlockBufferRules rules;
  rules.mask_id = 44;
  rules.block_size = 4;
  rules.buffer_size = 2;
  const BlockBuffer buffer(rules);
  SequenceLimits limits;
  limits.max_tokens = 10;
  limits.max_model_len = 100;
  Sequence sequence = buffer.start({10, 11}, {}, limits, 0);
  Block& block = sequence.blocks.at(0);
  EXPECT_EQ(block.editable, (PositionRange{2, 4}));
  EXPECT_EQ(block.num_masked, 2);
  StepOutcome outcome;
  EXPECT_ERROR(buffer.write(sequence, block, {1, 5, 1.0F}, outcome), kInternal);
  buffer.write(sequence, block, {2, 5, 1.0F}, outcome);
  EXPECT_EQ(block.num_masked, 1);
  EXPECT_ERROR(buffer.write(sequence, block, {2, 6, 1.0F}, outcome), kInternal);
  EXPECT_EQ(outcome.writes.size(), 1U);
}

/// One step in which the position `p` is measured with confidence `of(p)`.
template <typename Confidence>
StepOutcome step_with(const Strategy& strategy, Sequence& sequence, const Confidence& of) {
  const Span span = strategy.plan(sequence);
  std::vector<Measurement> measured;
  for (const Measure& measure : span.measures) {
    Measurement m;
    m.position = measure.position;
    m.token = 7;
    m.confidence = m.plain_confidence = of(measure.position);
    measured.push_back(m);
  }
  return strategy.apply(sequence, span, measured);
}

std::unique_ptr<const Strategy> multi_bd(std::int64_t block_size, std::int64_t buffer_size) {
  ModelFacts facts;
  facts.vocab_size = 48;
  facts.tokenizer_size = 45;
  facts.mask_id = 44;
  return create_strategy("multi_bd", facts,
                         {{"block_size", block_size}, {"buffer_size", buffer_size}});
}

Sequence start(const Strategy& strategy, std::size_t prompt_len, std::int32_t max_tokens) {
  SequenceLimits limits;
  limits.max_tokens = max_tokens;
  limits.max_model_len = 1000;
  return strategy.start(std::vector<TokenId>(prompt_len, 7), {}, limits, 0);
}

// 3: the first block is forced because it is first; any other only by its predecessor.
TEST(BlockInvariantsTest, ABlockIsForcedByAReadyPredecessorOrByBeingTheFirst) {
  const auto strategy = multi_bd(/*block_size=*/4, /*buffer_size=*/2);
  Sequence sequence = start(*strategy, 4, 12);
  const auto unsure = [](Position) { return 0.1F; };
  step_with(*strategy, sequence, unsure);  // the prompt: nothing is measured
  step_with(*strategy, sequence, unsure);  // one token of the first block: the second opens
  ASSERT_EQ(sequence.blocks.size(), 2U);
  EXPECT_EQ(sequence.blocks[0].num_masked, 3);
  for (std::int32_t left = 2; left >= 0; --left) {
    step_with(*strategy, sequence, unsure);
    EXPECT_EQ(sequence.blocks[0].num_masked, left) << "one token a step";
    EXPECT_EQ(sequence.blocks[1].num_masked, 4) << "its predecessor is not semi-complete";
  }
  step_with(*strategy, sequence, unsure);
  EXPECT_EQ(sequence.blocks[0].num_masked, 3) << "the predecessor was complete";
}

// 5: what a step learns of a block is noted on that block if it is active, and on no other.
TEST(BlockInvariantsTest, TheStateOfADecisionIsNotedOnItsBlock) {
  const auto strategy = multi_bd(/*block_size=*/4, /*buffer_size=*/2);
  Sequence sequence = start(*strategy, 4, 12);
  const auto first_is_sure = [](Position p) { return p < 8 ? 0.99F : 0.1F; };
  step_with(*strategy, sequence, first_is_sure);
  step_with(*strategy, sequence, [](Position p) { return p < 7 ? 0.99F : 0.1F; });
  ASSERT_EQ(sequence.blocks.size(), 2U);
  EXPECT_FALSE(sequence.blocks[0].commit_ready);
  EXPECT_EQ(sequence.blocks[0].same_token_ratio, 0.0);
  step_with(*strategy, sequence, first_is_sure);
  const Block final_block = sequence.blocks[0];
  EXPECT_TRUE(final_block.commit_ready);
  EXPECT_EQ(final_block.phase, BlockPhase::kToCache);
  EXPECT_EQ(final_block.same_token_ratio, 1.0);
  EXPECT_EQ(final_block.denoising_steps, 2);
  EXPECT_FALSE(sequence.blocks[1].commit_ready);
  EXPECT_EQ(sequence.blocks[1].denoising_steps, 1);
}

// 6
TEST(BlockInvariantsTest, AFreshRequestWithinOneBlockIsNotFinishedByItsFirstStep) {
  const auto strategy = multi_bd(/*block_size=*/32, /*buffer_size=*/1);
  Sequence sequence = start(*strategy, 16, 64);
  const StepOutcome outcome = step_with(*strategy, sequence, [](Position) { return 0.1F; });
  EXPECT_FALSE(sequence.finish.has_value());
  ASSERT_EQ(sequence.blocks.size(), 1U);
  EXPECT_EQ(sequence.blocks[0].phase, BlockPhase::kActive);
  EXPECT_EQ(sequence.blocks[0].num_masked, 15);
  EXPECT_TRUE(outcome.to_cache.empty() && outcome.committed.empty());
}

// 14, the other way round: without max_nfe no number of steps ends a request.
TEST(BlockInvariantsTest, NoStepBudgetIsMadeUp) {
  const auto strategy = multi_bd(/*block_size=*/4, /*buffer_size=*/1);
  Sequence sequence = start(*strategy, 4, 200);
  while (!sequence.finish.has_value() && sequence.num_steps < 1000) {
    step_with(*strategy, sequence, [](Position) { return 0.1F; });
  }
  EXPECT_EQ(sequence.finish, FinishReason::kMaxTokens);
  EXPECT_EQ(sequence.output_end - sequence.prompt_len, 200);
  EXPECT_EQ(sequence.num_steps, 1 + 200 + 49) << "a token a step, and one step per stored block";
}

// 12, 13, 16, 17, 20, 22 against their definitions.
TEST(BlockInvariantsTest, TheOutputEndsWhereTheRulesSay) {
  std::map<FinishReason, int> reasons;
  for_each_scenario([&](const BlockScenario& s) {
    const Sequence end =
        run(s, [](const Sequence&, const Span&, const StepOutcome&, const Sequence&) {});
    ++reasons[*end.finish];
    const auto begin = end.tokens.begin() + end.prompt_len;
    const std::vector<TokenId> output(begin, end.tokens.begin() + end.output_end);
    const auto is_eos = [&](TokenId token) {
      return std::count(s.limits.eos_ids.begin(), s.limits.eos_ids.end(), token) > 0;
    };
    EXPECT_EQ(std::count(output.begin(), output.end(), *s.facts.mask_id), 0);
    EXPECT_TRUE(std::none_of(output.begin(), output.end(), is_eos));
    const std::int32_t room = s.limits.max_model_len - end.prompt_len;
    switch (*end.finish) {
      case FinishReason::kEos:
        EXPECT_TRUE(is_eos(end.tokens[static_cast<std::size_t>(end.output_end)]));
        break;
      case FinishReason::kMaxTokens: EXPECT_EQ(std::ssize(output), s.limits.max_tokens); break;
      case FinishReason::kMaxModelLen:
        EXPECT_EQ(std::ssize(output), room);
        EXPECT_LT(room, s.limits.max_tokens);
        break;
      case FinishReason::kMaxNfe: EXPECT_EQ(end.num_steps, *s.limits.max_nfe); break;
      case FinishReason::kRepetition:
        ASSERT_GE(output.size(), 2U);
        EXPECT_EQ(output[output.size() - 1], output[output.size() - 2]);
        break;
    }
    EXPECT_LE(std::ssize(output), std::min(room, s.limits.max_tokens));
    EXPECT_LE(end.num_steps, s.limits.max_nfe.value_or(end.num_steps));
  });
  EXPECT_EQ(reasons.size(), 5U) << "every way to end was seen";
}

// 12: ids of EOS tokens in the prompt, and anywhere with ignore_eos, end nothing.
TEST(BlockInvariantsTest, AnEosOfThePromptEndsNothing) {
  for_each_scenario([](const BlockScenario& drawn) {
    BlockScenario s = random_scenario(static_cast<std::uint32_t>(drawn.seed));
    s.prompt.back() = 1;
    s.limits = {};
    s.limits.max_tokens = 5;
    s.limits.max_model_len = 1000;
    const Sequence end =
        run(s, [](const Sequence&, const Span&, const StepOutcome&, const Sequence&) {});
    EXPECT_EQ(end.finish, FinishReason::kMaxTokens);
    EXPECT_EQ(end.output_end - end.prompt_len, 5);
  });
}

}  // namespace
}  // namespace tessera
