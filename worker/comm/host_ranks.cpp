#include "worker/comm/host_ranks.h"

#include <unistd.h>

#include <array>

#include "common/base/error.h"

namespace tessera {
namespace {

using HostName = std::array<char, 256>;

void check(int result, const char* call) {
  TESSERA_CHECK_TRANSPORT(result == MPI_SUCCESS, call, " failed with ", result);
}

// One value of a plain type from every rank.
template <typename T>
std::vector<T> gather(MPI_Comm communicator, const T& mine) {
  int size = 0;
  check(MPI_Comm_size(communicator, &size), "MPI_Comm_size");
  std::vector<T> all(static_cast<std::size_t>(size));
  check(MPI_Allgather(&mine, sizeof(T), MPI_BYTE, all.data(), sizeof(T), MPI_BYTE, communicator),
        "MPI_Allgather");
  return all;
}

}  // namespace

std::string host_name() {
  HostName name{};
  const int result = gethostname(name.data(), name.size() - 1);
  return result == 0 ? name.data() : "unknown host";
}

HostRanks find_host_ranks(MPI_Comm communicator) {
  HostRanks ranks;
  HostName name{};
  host_name().copy(name.data(), name.size() - 1);
  for (const HostName& host : gather(communicator, name)) ranks.host_of_rank.push_back(host.data());

  MPI_Comm local = MPI_COMM_NULL;
  check(MPI_Comm_split_type(communicator, MPI_COMM_TYPE_SHARED, /*key=*/0, MPI_INFO_NULL, &local),
        "MPI_Comm_split_type");
  check(MPI_Comm_rank(local, &ranks.local_rank), "MPI_Comm_rank");
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  TESSERA_CHECK_AS(ErrorCode::kDevice, sched_getaffinity(0, sizeof(cpus), &cpus) == 0,
                   "sched_getaffinity failed");
  ranks.local_cpus = gather(local, cpus);
  check(MPI_Comm_free(&local), "MPI_Comm_free");
  return ranks;
}

}  // namespace tessera
