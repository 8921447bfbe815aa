#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>

#include "common/base/error.h"
#include "common/config/config.h"
#include "common/log/log_setup.h"
#include "coordinator/app/coordinator_app.h"

namespace {

constexpr int kExitConfig = 64;
constexpr int kExitInternal = 70;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

tessera::CoordinatorEnvironment read_environment() {
  tessera::CoordinatorEnvironment environment;
  environment.token = variable("TESSERA_CONTROL_TOKEN");
  environment.exits_on_rank_loss = variable("TESSERA_EXIT_ON_RANK_LOSS") == "1";
  const std::string supervisor = variable("TESSERA_SUPERVISOR_FD");
  if (!supervisor.empty()) environment.supervisor = std::atoi(supervisor.c_str());
  return environment;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const auto config = tessera::read_config(tessera::Program::kCoordinator, argc, argv, std::cout);
    if (!config) return 0;
    tessera::set_up_log(config->log_level, config->log_format, "coordinator");
    return tessera::run_coordinator(*config, read_environment());
  } catch (const tessera::Error& error) {
    std::fprintf(stderr, "tessera-coordinator: %s\n", error.what());
    return error.code() == tessera::ErrorCode::kInternal ? kExitInternal : kExitConfig;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tessera-coordinator: %s\n", error.what());
    return kExitInternal;
  }
}
