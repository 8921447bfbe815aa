#include "worker/main/worker_arguments.h"

#include <optional>
#include <string_view>

#include "common/base/error.h"

namespace tessera {
namespace {

constexpr std::string_view kRole = "--role";

}  // namespace

WorkerArguments split_role(int argc, const char* const* argv) {
  WorkerArguments arguments;
  std::optional<std::string> role;
  int i = 0;
  for (; i < argc && (i == 0 || argv[i] != std::string_view("--")); ++i) {
    const std::string_view word = argv[i];
    if (word == kRole) {
      TESSERA_REQUIRE(i + 1 < argc, "--role needs a value; allowed: worker, launcher");
      role = argv[++i];
    } else if (word.starts_with("--role=")) {
      role = word.substr(kRole.size() + 1);
    } else {
      arguments.flags.push_back(argv[i]);
    }
  }
  const bool is_known = !role || *role == "worker" || *role == "launcher";
  TESSERA_REQUIRE(is_known, "--role is \"", role.value_or(""), "\"; allowed: worker, launcher");
  if (role != "launcher") {
    arguments.flags.insert(arguments.flags.end(), argv + i, argv + argc);
    return arguments;
  }
  for (++i; i < argc; ++i) arguments.command.emplace_back(argv[i]);
  TESSERA_REQUIRE(arguments.flags.size() == 1 && !arguments.command.empty(),
                  "the launcher takes nothing but the coordinator's command: --role launcher -- "
                  "tessera-coordinator MODEL_DIR ...");
  return arguments;
}

}  // namespace tessera
