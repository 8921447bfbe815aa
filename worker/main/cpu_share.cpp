#include "worker/main/cpu_share.h"

#include <optional>

namespace tessera {
namespace {

using Shares = std::vector<std::vector<std::int32_t>>;

// The first CPUs of `allowed` that are not taken; none if there are not enough.
std::optional<std::vector<std::int32_t>> take(const cpu_set_t& allowed,
                                              cpu_set_t& taken,
                                              std::int32_t count) {
  std::vector<std::int32_t> cpus;
  for (std::int32_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (static_cast<std::int32_t>(cpus.size()) == count) break;
    if (CPU_ISSET(cpu, &allowed) && !CPU_ISSET(cpu, &taken)) cpus.push_back(cpu);
  }
  if (static_cast<std::int32_t>(cpus.size()) < count) return std::nullopt;
  for (const std::int32_t cpu : cpus) CPU_SET(cpu, &taken);
  return cpus;
}

// `count` CPUs for every rank; none if somebody would have to share.
std::optional<Shares> deal(std::span<const cpu_set_t> allowed, std::int32_t count) {
  cpu_set_t taken;
  CPU_ZERO(&taken);
  Shares shares;
  for (const cpu_set_t& cpus : allowed) {
    auto share = take(cpus, taken, count);
    if (!share) return std::nullopt;
    shares.push_back(*std::move(share));
  }
  return shares;
}

}  // namespace

CpuShare share_cpus(std::span<const cpu_set_t> allowed,
                    std::int32_t local_rank,
                    std::int32_t num_threads) {
  const auto rank = static_cast<std::size_t>(local_rank);
  if (num_threads > 0) {
    auto shares = deal(allowed, num_threads);
    return {num_threads, shares ? (*shares)[rank] : std::vector<std::int32_t>{}};
  }
  CpuShare share;
  for (std::int32_t count = 1; count <= CPU_COUNT(&allowed[rank]); ++count) {
    auto shares = deal(allowed, count);
    if (!shares) break;
    share = {count, (*shares)[rank]};
  }
  return share;
}

}  // namespace tessera
