#include "tests/strategies/golden_decoding.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "strategies/multi_bd/multi_bd.h"

namespace tessera {
namespace {

OptionValue option_value(const nlohmann::json& value) {
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_number_integer()) return value.get<std::int64_t>();
  if (value.is_number()) return value.get<double>();
  return value.get<std::string>();
}

BufferParity parity_of(const nlohmann::json& options) {
  BufferParity parity;
  parity.cut_tail_rows = options.at("tail_rows") == "cut";
  if (options.at("eos_rule") == "filled") parity.eos_rule = EosRule::kFilled;
  if (options.at("eos_rule") == "valid_blocks") parity.eos_rule = EosRule::kValidBlocks;
  return parity;
}

}  // namespace

std::unique_ptr<const Strategy> strategy_of(const Golden& golden) {
  TESSERA_REQUIRE(golden.strategy == "multi_bd", "no goldens are replayed for ", golden.strategy);
  const StrategyEntry& entry = strategy_entry(golden.strategy);
  OptionValues given;
  for (const OptionSpec& spec : entry.options) {
    given[std::string(spec.name)] = option_value(golden.options.at(spec.name));
  }
  return std::make_unique<MultiBd>(golden.facts, StrategyOptions(entry.options, given),
                                   parity_of(golden.options));
}

std::vector<Golden> goldens_of(const std::string& strategy, const std::string& file) {
  std::vector<Golden> goldens = read_goldens(goldens_dir() + "/" + file);
  std::erase_if(goldens, [&](const Golden& golden) { return golden.strategy != strategy; });
  return goldens;
}

Decoded decode(const Strategy& strategy, const Golden& golden, const SpanExecutor& execute) {
  Sequence sequence = strategy.start(golden.prompt, golden.sampling(), golden.limits(), 0);
  Decoded decoded;
  while (!sequence.finish.has_value()) {
    const Span span = strategy.plan(sequence);
    decoded.num_measured_steps += span.measures.empty() ? 0 : 1;
    const StepOutcome outcome = strategy.apply(sequence, span, execute(span));
    std::copy(outcome.writes.begin(), outcome.writes.end(), std::back_inserter(decoded.writes));
    std::copy(outcome.committed.begin(), outcome.committed.end(),
              std::back_inserter(decoded.committed));
  }
  decoded.tokens.assign(sequence.tokens.begin() + sequence.prompt_len,
                        sequence.tokens.begin() + sequence.output_end);
  decoded.finish_reason = name_of(*sequence.finish);
  decoded.num_steps = sequence.num_steps;
  return decoded;
}

}  // namespace tessera
