#include "common/config/config_reference.h"

#include <sstream>

#include "common/config/config_value.h"
#include "common/config/flag_reader.h"

namespace tessera {
namespace {

constexpr std::string_view kIntroduction =
    "# Configuration\n"
    "\n"
    "<!-- Printed by `tessera check-config --reference`; a test compares the two. -->\n"
    "\n"
    "One TOML file (`--config FILE`) and flags of the same names: `max_model_len` in the file is\n"
    "`--max-model-len` on the command line. Flags win over the file. Unknown keys and flags are\n"
    "refused with the nearest known one; nothing is read from the environment.\n"
    "`tessera check-config MODEL_DIR [--config FILE] [flags]` prints what results, and the memory\n"
    "it takes.\n"
    "\n"
    "```toml\n"
    "model = \"deploy/models/tiny-sdar\"\n"
    "tp = 2\n"
    "kv_memory = \"1GiB\"\n"
    "\n"
    "[strategy_options]\n"
    "accept_threshold = 0.95\n"
    "```\n"
    "\n"
    "The table `strategy_options` (`--strategy-option NAME=VALUE`) holds defaults of the decoding\n"
    "strategy's options; a request overrides them in its `decoding` object. The last column says\n"
    "who takes the flag: `serve` (`tessera serve`), `coordinator` (`tessera-coordinator`), "
    "`worker`\n"
    "(`tessera-worker`). All three accept every key in a file, so that they can share one.\n";

std::string readers(const ConfigKey& key) {
  std::string text;
  const auto add = [&](Program program, std::string_view name) {
    if ((key.programs & program_bit(program)) == 0) return;
    text += (text.empty() ? "" : ", ") + std::string(name);
  };
  add(Program::kServe, "serve");
  add(Program::kCoordinator, "coordinator");
  add(Program::kWorker, "worker");
  return text;
}

}  // namespace

std::string config_reference() {
  std::ostringstream out;
  out << kIntroduction;
  const ServerConfig defaults;
  std::string_view section;
  for (const ConfigKey& key : config_keys()) {
    if (key.section != section) {
      section = key.section;
      out << "\n## " << section << "\n\n"
          << "| key | allowed | default | meaning | read by |\n|---|---|---|---|---|\n";
    }
    const std::string value = value_text(defaults, key);
    out << "| `" << key.name << "` | " << allowed_text(key) << " | "
        << (value.empty() ? std::string(key.unset) : "`" + value + "`") << " | " << key.help
        << " | " << readers(key) << " |\n";
  }
  return out.str();
}

}  // namespace tessera
