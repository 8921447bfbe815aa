#include "coordinator/cli/serve_command.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <sstream>

#include "common/base/error.h"
#include "common/config/config.h"
#include "common/log/log_setup.h"
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

ReportStyle report_style(const ServerConfig& config) {
  if (config.log_format == "json") return ReportStyle::kJson;
  const bool is_terminal = isatty(STDOUT_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr;
  return is_terminal ? ReportStyle::kColours : ReportStyle::kPlain;
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
  const ReportStyle style = report_style(*config);
  set_up_log(config->log_level, config->log_format, "serve");
  ServeReport report(style == ReportStyle::kJson ? std::cerr : std::cout, style);
  report.line("serve",
              detail::concat("tessera ", version(), " serves ", served_name(*config), ": ",
                             count_text(config->replicas, "replica"), " of ",
                             count_text(config->tp, "rank"), ", ", config->backend, " back end"));
  return ServeProcesses(*config, programs, report).run();
}

}  // namespace tessera
