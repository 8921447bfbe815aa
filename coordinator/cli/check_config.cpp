#include "coordinator/cli/check_config.h"

#include <iomanip>
#include <iostream>
#include <string_view>

#include "common/base/error.h"
#include "common/config/config.h"
#include "common/config/config_reference.h"
#include "common/model_spec/memory_plan.h"
#include "common/model_spec/model_spec.h"
#include "coordinator/app/served_model.h"
#include "coordinator/frontend/openai/resolve_request.h"
#include "strategies/strategy_registry.h"

namespace tessera {
namespace {

constexpr std::string_view kHelp =
    "Prints the configuration that a file and flags result in, as a file that --config reads, and "
    "the\nmemory each rank needs. Refuses what `tessera serve` would refuse, and starts "
    "nothing.\n\n"
    "Usage: tessera check-config MODEL_DIR [flags of tessera serve]\n"
    "       tessera check-config --reference\n\n"
    "--reference prints every key with its range, default and meaning (docs/configuration.md).\n\n"
    "Examples:\n"
    "  tessera check-config deploy/models/tiny-sdar --tp 2 --kv-memory 2GB\n"
    "  tessera check-config MODEL_DIR --max-running-requests 128 > server.toml\n"
    "  tessera check-config --config server.toml\n";

void print_bytes(std::string_view what, std::int64_t bytes) {
  std::cout << "#   " << std::left << std::setw(26) << what << std::right << std::fixed
            << std::setprecision(1) << std::setw(10) << static_cast<double>(bytes) / (1 << 20)
            << " MiB\n";
}

std::string value_text(const OptionValue& value) {
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  return std::visit([](const auto& v) { return detail::concat(v); }, value);
}

std::string presets_text(const ServedModel& model) {
  const StrategyEntry& entry = strategy_entry(model.strategy);
  std::string text = "# Presets of " + model.strategy + "\n";
  for (std::size_t i = 0; i < kPresetNames.size(); ++i) {
    const bool is_used = model.preset == static_cast<Preset>(i);
    text += detail::concat("#   ", kPresetNames[i], is_used ? " (used)" : "", ":");
    for (const auto& [name, value] : entry.presets[i]) {
      text += detail::concat(" ", name, " = ", value_text(value), ";");
    }
    text.back() = '\n';
  }
  return text;
}

/// What a request that asks for nothing gets, as the coordinator would settle it.
std::string decoding_text(const ServerConfig& config) {
  const ServedModel model = load_served_model(config);
  const StrategyTraits traits = default_decoding(model).strategy->traits();
  return detail::concat("\n# Decoding: ", model.strategy, ", blocks of ", traits.block_size,
                        " tokens, at most ", traits.max_buffer_rows,
                        " rows of a request in a step; ", model.max_model_len,
                        " tokens per sequence\n", presets_text(model));
}

void print_memory_plan(const ServerConfig& config, const MemoryPlan& plan) {
  const std::int64_t page_bytes = plan.kv_per_token * config.page_size;
  std::cout << "\n# Memory of each of " << config.tp * config.replicas << " ranks\n";
  print_bytes("weights", plan.weights);
  print_bytes("workspace of a step", plan.workspace);
  const std::optional<std::int64_t> kv_memory = kv_memory_bytes(config);
  if (kv_memory) {
    print_bytes("KV pool", *kv_memory);
    std::cout << "#   " << *kv_memory / page_bytes << " pages";
  } else {
    std::cout << "#   KV pool: 85 % of what the GPU has left; pages";
  }
  std::cout << " of " << config.page_size << " tokens, " << page_bytes
            << " bytes each; a KV head is held by up to " << plan.kv_copies << " rank(s)\n";
  if (plan.windowed_kv_per_token > 0) {
    std::cout
        << "#   " << plan.windowed_kv_per_token * config.page_size
        << " bytes of a page are of layers with a sliding window, which keep it as long as the "
           "others\n";
  }
}

}  // namespace

MemoryPlan memory_plan_of(const ServerConfig& config) {
  MemoryPlanInput input;
  input.tp = config.tp;
  if (config.expert_parallel) input.experts = ExpertSharding::kByExpert;
  input.element_bytes = config.backend == "reference" ? 4 : 2;
  input.on_gpu = config.backend == "cuda";
  input.max_step_rows = step_rows(config);
  input.max_sequences = config.max_running_requests;
  const ModelSpec spec = read_model_spec(config.model);
  input.max_model_len = config.max_model_len.value_or(spec.max_position_embeddings);
  return plan_memory(spec, input);
}

int run_check_config(int argc, const char* const* argv) {
  if (argc == 2 && std::string_view(argv[1]) == "--reference") {
    std::cout << config_reference();
    return 0;
  }
  if (argc == 2 && (std::string_view(argv[1]) == "--help" || std::string_view(argv[1]) == "-h")) {
    std::cout << kHelp;
    return 0;
  }
  const auto config = read_config(Program::kServe, argc, argv, std::cout);
  if (!config.has_value()) return 0;
  const MemoryPlan plan = memory_plan_of(*config);
  const std::optional<std::int64_t> kv_memory = kv_memory_bytes(*config);
  TESSERA_REQUIRE(!kv_memory || *kv_memory >= plan.kv_per_token * config->page_size,
                  "kv_memory of ", *kv_memory, " bytes does not hold one page of ",
                  config->page_size, " tokens of ", plan.kv_per_token, " bytes");
  const std::string decoding = decoding_text(*config);
  std::cout << to_toml(*config) << decoding;
  print_memory_plan(*config, plan);
  return 0;
}

}  // namespace tessera
