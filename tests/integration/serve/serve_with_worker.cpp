// `tessera serve` with another program as the ranks: serve_with_worker WORKER COORDINATOR FLAGS...
#include <iostream>

#include "common/base/error.h"
#include "common/config/config.h"
#include "coordinator/cli/serve/serve_processes.h"

int main(int argc, char** argv) {
  try {
    const tessera::ServePrograms programs{argv[2], argv[1]};
    const auto config =
        tessera::read_config(tessera::Program::kServe, argc - 2, argv + 2, std::cout);
    tessera::ServeReport report(std::cout, tessera::ReportStyle::kPlain);
    return tessera::ServeProcesses(config.value(), programs, report).run();
  } catch (const tessera::Error& error) {
    std::cerr << error.what() << "\n";
    return 64;
  }
}
