#include "benchmarks/loading/resident_memory.h"

#include <fstream>
#include <string>

#include "common/base/error.h"

namespace tessera::benchmarks {
namespace {

std::int64_t status_bytes(const std::string& field) {
  std::ifstream status("/proc/self/status");
  std::string name;
  for (std::string line; status >> name && std::getline(status, line);) {
    if (name == field) return std::stoll(line) * 1024;
  }
  TESSERA_CHECK(false, "/proc/self/status has no ", field);
  return 0;
}

}  // namespace

std::int64_t resident_bytes() {
  return status_bytes("VmRSS:");
}

std::int64_t peak_resident_bytes() {
  return status_bytes("VmHWM:");
}

void reset_peak_resident() {
  std::ofstream clear("/proc/self/clear_refs");
  clear << "5";
  clear.close();
  TESSERA_CHECK(clear.good(), "/proc/self/clear_refs cannot be written");
}

}  // namespace tessera::benchmarks
