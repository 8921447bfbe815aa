#include "coordinator/cli/serve_command.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <sstream>

#include "common/base/error.h"
#include "common/config/config.h"
#include "coordinator/cli/check_config.h"
#include "coordinator/cli/client/server_process.h"
#include "coordinator/cli/serve/serve_processes.h"

namespace tessera {
namespace {

void require_in_path(const std::string& program) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    if (access((folder + "/" + program).c_str(), X_OK) == 0) return;
  }
  TESSERA_REQUIRE(false, program, " is not installed: run deploy/install.sh (package openmpi-bin)");
}

void require_checkpoint(const std::string& model) {
  const std::filesystem::path config = std::filesystem::path(model) / "config.json";
  TESSERA_REQUIRE(std::filesystem::exists(config), config.string(),
                  " is missing: give the directory of a checkpoint as Hugging Face publishes it, "
                  "or deploy/models/tiny-sdar to try Tessera");
}

bool wants_colours() {
  return isatty(STDOUT_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr;
}

}  // namespace

int run_serve_command(int argc, const char* const* argv) {
  const auto config = read_config(Program::kServe, argc, argv, std::cout);
  if (!config) return 0;
  require_checkpoint(config->model);
  memory_plan_of(*config);  // refuses what no rank could load, before anything is started
  const ServePrograms programs{sibling_program("tessera-coordinator"),
                               sibling_program("tessera-worker")};
  require_in_path(programs.mpirun);
  ServeReport report(std::cout, wants_colours());
  report.line("serve", detail::concat("tessera ", version(), " serves ", served_name(*config), ": ",
                                      config->replicas, " replica(s) of ", config->tp, " rank(s), ",
                                      config->backend, " back end"));
  return ServeProcesses(*config, programs, report).run();
}

}  // namespace tessera
