#include "tests/strategies/golden_decoding.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "strategies/strategy_registry.h"
#include "tests/support/golden_replay.h"
#include "tests/support/span_runner.h"

namespace tessera {
namespace {

constexpr float kTolerance = 1e-5F;  // confidences are printed with 9 digits

/// Every strategy of the registry, every golden file: the contract and the parity switches.
class GoldenDecodingTest : public ::testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  std::vector<Golden> goldens() const {
    std::vector<Golden> all = goldens_of(std::get<0>(GetParam()), std::get<1>(GetParam()));
    EXPECT_GE(all.size(), 4U);
    return all;
  }
};

// Ranges that touch say the same as one range.
std::vector<PositionRange> joined(const std::vector<PositionRange>& ranges) {
  std::vector<PositionRange> result;
  for (const PositionRange& range : ranges) {
    if (!result.empty() && result.back().end == range.begin) {
      result.back().end = range.end;
    } else {
      result.push_back(range);
    }
  }
  return result;
}

// Residuals are printed with 9 digits of a double, which do not always name the nearest fp32.
void take_residuals(const Span& span, Span& expected) {
  ASSERT_EQ(span.recipes.size(), expected.recipes.size());
  for (std::size_t i = 0; i < span.recipes.size(); ++i) {
    float& residual = expected.recipes[i].recipe.residual;
    EXPECT_NEAR(span.recipes[i].recipe.residual, residual, 1e-6);
    residual = span.recipes[i].recipe.residual;
  }
}

void expect_blocks(const Sequence& sequence, const GoldenStep& step) {
  ASSERT_EQ(sequence.blocks.size(), step.blocks.size());
  for (std::size_t i = 0; i < step.blocks.size(); ++i) {
    EXPECT_EQ(sequence.blocks[i].index, step.blocks[i].index);
    EXPECT_EQ(sequence.blocks[i].phase, step.blocks[i].phase);
    EXPECT_EQ(sequence.blocks[i].total_steps, step.blocks[i].total_steps);
  }
}

void expect_outcome(const StepOutcome& outcome, const Sequence& sequence, const GoldenStep& step) {
  ASSERT_EQ(outcome.writes.size(), step.writes.size());
  for (std::size_t i = 0; i < step.writes.size(); ++i) {
    EXPECT_EQ(outcome.writes[i].position, step.writes[i].position);
    EXPECT_EQ(outcome.writes[i].token, step.writes[i].token);
    EXPECT_EQ(outcome.writes[i].confidence, step.writes[i].confidence);
  }
  EXPECT_EQ(outcome.to_cache, step.to_cache);
  EXPECT_EQ(outcome.committed, step.committed);
  EXPECT_EQ(sequence.frontier, step.frontier);
  EXPECT_EQ(sequence.cached_len, step.cached_len);
}

// No model at all: what the oracle measured is fed back, every step must be the oracle's.
TEST_P(GoldenDecodingTest, FollowsTheTraceWhenItsMeasurementsAreFedBack) {
  for (const Golden& golden : goldens()) {
    SCOPED_TRACE(golden.id);
    const auto strategy = strategy_of(golden);
    Sequence sequence = strategy->start(golden.prompt, golden.sampling(), golden.limits(), 0);
    GoldenReplay replay(golden);
    for (std::size_t i = 0; i < golden.trace.size(); ++i) {
      SCOPED_TRACE(::testing::Message() << "step " << i);
      const GoldenStep& step = golden.trace[i];
      ASSERT_FALSE(sequence.finish.has_value());
      expect_blocks(sequence, step);
      Span span = strategy->plan(sequence);
      Span expected = replay.span(step);
      span.stores = joined(span.stores);
      take_residuals(span, expected);
      ASSERT_EQ(span, expected);
      const StepOutcome outcome =
          strategy->apply(sequence, strategy->plan(sequence), recorded_measurements(step));
      expect_outcome(outcome, sequence, step);
      replay.advance(step);
      if (HasFailure()) return;
    }
    ASSERT_TRUE(sequence.finish.has_value());
    EXPECT_EQ(name_of(*sequence.finish), golden.finish_reason);
    EXPECT_EQ(sequence.num_steps, golden.num_steps);
    EXPECT_EQ(std::vector<TokenId>(sequence.tokens.begin() + sequence.prompt_len,
                                   sequence.tokens.begin() + sequence.output_end),
              golden.tokens);
  }
}

void expect_decoded(const Decoded& decoded, const Golden& golden) {
  EXPECT_EQ(decoded.tokens, golden.tokens);
  EXPECT_EQ(decoded.finish_reason, golden.finish_reason);
  EXPECT_EQ(decoded.num_steps, golden.num_steps);
  EXPECT_EQ(decoded.num_measured_steps, golden.num_measured_steps);
  std::vector<GoldenWrite> writes;
  std::vector<BlockIndex> committed;
  for (const GoldenStep& step : golden.trace) {
    writes.insert(writes.end(), step.writes.begin(), step.writes.end());
    committed.insert(committed.end(), step.committed.begin(), step.committed.end());
  }
  EXPECT_EQ(decoded.committed, committed);
  ASSERT_EQ(decoded.writes.size(), writes.size());
  for (std::size_t i = 0; i < writes.size(); ++i) {
    EXPECT_EQ(decoded.writes[i].position, writes[i].position);
    EXPECT_EQ(decoded.writes[i].token, writes[i].token);
    EXPECT_NEAR(decoded.writes[i].confidence, writes[i].confidence, kTolerance);
  }
}

// Real plans over real pages against the hash model, whole and in chunks.
TEST_P(GoldenDecodingTest, DecodesTheSameEndToEnd) {
  for (const Golden& golden : goldens()) {
    SCOPED_TRACE(golden.id);
    const auto strategy = strategy_of(golden);
    const std::int32_t block = strategy->traits().block_size;
    SpanRunner whole(golden.facts, golden.hash_seed, /*page_size=*/block, golden.measure_rules());
    expect_decoded(decode(*strategy, golden, [&](const Span& s) { return whole.run(s); }), golden);
    const std::int32_t quantum = strategy->traits().chunk_quantum;
    if (quantum > 0) {
      SpanRunner pieces(golden.facts, golden.hash_seed, 3 * block, golden.measure_rules());
      const auto run = [&](const Span& s) { return pieces.run_in_pieces(s, quantum); };
      expect_decoded(decode(*strategy, golden, run), golden);
    }
    if (HasFailure()) return;
  }
}

// All K/V and all that workers keep is lost again and again, at growing distances because a canvas
// begins anew, and rebuilt: nothing may change, nothing is counted.
TEST_P(GoldenDecodingTest, DecodesTheSameWhenPagesAreLost) {
  for (const Golden& golden : goldens()) {
    // Parity switches under which committed K/V is no function of the tokens.
    if (golden.options.at("dmax_commit") == "merged") continue;
    if (golden.options.at("d2f_mask") == "static") continue;
    SCOPED_TRACE(golden.id);
    const auto strategy = strategy_of(golden);
    SpanRunner runner(golden.facts, golden.hash_seed, strategy->traits().block_size,
                      golden.measure_rules());
    Sequence sequence = strategy->start(golden.prompt, golden.sampling(), golden.limits(), 0);
    std::int32_t next_loss = 1;
    for (std::int32_t step = 0; !sequence.finish.has_value(); ++step) {
      if (step == next_loss) {
        next_loss += 1 + next_loss / 2;
        runner.lose_pages();
        for (const Span& span : strategy->rebuild(sequence, /*cached_len=*/0)) {
          EXPECT_TRUE(runner.run(span).empty());
        }
      }
      const Span span = strategy->plan(sequence);
      strategy->apply(sequence, span, runner.run(span));
    }
    EXPECT_EQ(std::vector<TokenId>(sequence.tokens.begin() + sequence.prompt_len,
                                   sequence.tokens.begin() + sequence.output_end),
              golden.tokens);
    EXPECT_EQ(sequence.num_steps, golden.num_steps);
    if (HasFailure()) return;
  }
}

std::vector<std::string> strategy_names() {
  std::vector<std::string> names;
  for (const StrategyEntry& entry : strategy_registry()) names.emplace_back(entry.name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Registry,
                         GoldenDecodingTest,
                         ::testing::Combine(::testing::ValuesIn(strategy_names()),
                                            ::testing::Values("state_machine.jsonl",
                                                              "switches.jsonl")),
                         [](const auto& strategy_and_file) {
                           const std::string& file = std::get<1>(strategy_and_file.param);
                           return std::get<0>(strategy_and_file.param) + "_" +
                                  file.substr(0, file.find('.'));
                         });

}  // namespace
}  // namespace tessera
