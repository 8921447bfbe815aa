#include "coordinator/cli/bench/machine_facts.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>
#include <thread>

namespace tessera {
namespace {

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

}  // namespace

MachineFacts machine_facts() {
  utsname names{};
  ::uname(&names);
  MachineFacts facts;
  facts.cpu = cpu_name();
  facts.cores = static_cast<std::int32_t>(std::thread::hardware_concurrency());
  facts.memory_bytes =
      static_cast<std::int64_t>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE);
  facts.kernel = std::string(names.sysname) + " " + names.release;
  facts.host = names.nodename;
  return facts;
}

nlohmann::ordered_json to_json(const MachineFacts& facts) {
  return {{"cpu", facts.cpu},
          {"cores", facts.cores},
          {"memory_bytes", facts.memory_bytes},
          {"kernel", facts.kernel},
          {"host", facts.host}};
}

}  // namespace tessera
