#include "tests/strategies/golden_decoding.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "strategies/d2f/d2f.h"
#include "strategies/diffusion_gemma/diffusion_gemma.h"
#include "strategies/dmax/dmax.h"
#include "strategies/edit/edit.h"
#include "strategies/fast_dllm_v2/fast_dllm_v2.h"
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
  parity.commits_recipes = options.at("dmax_commit") == "merged";
  return parity;
}

}  // namespace

std::unique_ptr<const Strategy> strategy_of(const Golden& golden) {
  const StrategyEntry& entry = strategy_entry(golden.strategy);
  OptionValues given;
  for (const OptionSpec& spec : entry.options) {
    given[std::string(spec.name)] = option_value(golden.options.at(spec.name));
  }
  const StrategyOptions options(entry.options, given);
  const nlohmann::json& all = golden.options;
  const BufferParity parity = parity_of(all);
  if (golden.strategy == "multi_bd") {
    return std::make_unique<MultiBd>(golden.facts, options, parity);
  }
  if (golden.strategy == "d2f") {
    return std::make_unique<D2f>(golden.facts, options,
                                 D2fParity{parity, all.at("d2f_mask") == "static"});
  }
  if (golden.strategy == "edit") return std::make_unique<Edit>(golden.facts, options, parity);
  if (golden.strategy == "dmax") {
    return std::make_unique<Dmax>(golden.facts, options,
                                  DmaxParity{parity, !all.at("dmax_fast_path").get<bool>()});
  }
  if (golden.strategy == "fast_dllm_v2") {
    return std::make_unique<FastDllmV2>(
        golden.facts, options, FastDllmV2Parity{parity, all.at("seed_first_block").get<bool>()});
  }
  TESSERA_REQUIRE(golden.strategy == "diffusion_gemma", "no goldens are replayed for ",
                  golden.strategy);
  return std::make_unique<DiffusionGemma>(
      golden.facts, options,
      DiffusionGemmaParity{all.at("gemma_stop") == "reference", all.at("gemma_tail") == "valid"});
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
