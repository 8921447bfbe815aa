#include "coordinator/frontend/process_families.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace tessera {
namespace {

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
}

double resident_bytes() {
  std::ifstream file("/proc/self/statm");  // pages: total, resident, ...
  double total = 0;
  double resident = 0;
  file >> total >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

/// Unix time of the start of the process, in whole seconds.
double start_seconds() {
  std::ifstream stat("/proc/self/stat");
  std::string line;
  std::getline(stat, line);
  // Field 22, in clock ticks since the machine started; the name before field 3 may hold spaces.
  const std::size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::size_t at = name_end + 1;
  constexpr int kFieldsBetween = 20;
  for (int i = 0; i < kFieldsBetween; ++i) at = line.find(' ', at) + 1;
  const double ticks = std::strtod(line.c_str() + at, nullptr);
  std::ifstream machine("/proc/stat");
  for (std::string key; machine >> key;) {
    double booted = 0;
    if (key == "btime" && machine >> booted) {
      return booted + ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
    }
    machine.ignore(1 << 20, '\n');
  }
  return 0;
}

double num_open_descriptors() {
  std::error_code ec;  // none left to look with: the count is not known
  const std::filesystem::directory_iterator entries("/proc/self/fd", ec);
  return ec ? 0 : static_cast<double>(std::distance(begin(entries), end(entries)) - 1);
}

}  // namespace

void add_process_families(MetricFamilies& families) {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  families.counter("process_cpu_seconds_total", "Processor time of the coordinator.",
                   seconds(usage.ru_utime) + seconds(usage.ru_stime));
  families.gauge("process_resident_memory_bytes", "Resident memory of the coordinator.",
                 resident_bytes());
  families.gauge("process_open_fds", "Open file descriptors of the coordinator.",
                 num_open_descriptors());
  static const double kStart = start_seconds();
  families.gauge("process_start_time_seconds", "Unix time at which the coordinator started.",
                 kStart);
}

}  // namespace tessera
