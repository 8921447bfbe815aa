#include "kernels/available_memory.h"

#include <algorithm>
#include <fstream>
#include <optional>
#include <string>

#include "common/base/error.h"

namespace tessera::kernels {
namespace {

// A file that holds one number. "max" (no limit) is none.
std::optional<std::int64_t> read_number(const char* path) {
  std::ifstream in(path);
  std::int64_t value = 0;
  if (!(in >> value)) return std::nullopt;
  return value;
}

std::int64_t machine_bytes() {
  std::ifstream in("/proc/meminfo");
  std::string key;
  std::int64_t kibibytes = 0;
  std::string unit;
  while (in >> key >> kibibytes) {
    if (key == "MemAvailable:") return kibibytes * 1024;
    std::getline(in, unit);
  }
  TESSERA_CHECK_AS(ErrorCode::kDevice, false, "/proc/meminfo has no MemAvailable");
}

}  // namespace

std::int64_t available_memory_bytes() {
  const std::int64_t machine = machine_bytes();
  const auto limit = read_number("/sys/fs/cgroup/memory.max");
  const auto used = read_number("/sys/fs/cgroup/memory.current");
  if (!limit || !used) return machine;
  return std::clamp<std::int64_t>(*limit - *used, 0, machine);
}

}  // namespace tessera::kernels
