#include "coordinator/cluster/replica_entry.h"

#include <algorithm>
#include <limits>

#include "common/base/error.h"

namespace tessera {
namespace {

// Page ids are 32-bit and kept in tables of that many entries on every rank.
constexpr std::int64_t kMaxPages = std::int64_t{1} << 28;

bool is_legal_tp(std::int32_t tp) {
  return tp == 1 || tp == 2 || tp == 4 || tp == 8;
}

template <typename T>
std::string difference(const char* what, const T& mine, const T& theirs, const std::string& whose) {
  if (mine == theirs) return {};
  return detail::concat(what, " ", mine, " differs from ", theirs, " of ", whose);
}

std::string first_of(std::initializer_list<std::string> texts) {
  for (const std::string& text : texts) {
    if (!text.empty()) return text;
  }
  return {};
}

const RankEntry* any_rank(const ReplicaEntry& replica) {
  for (const auto& rank : replica.ranks) {
    if (rank) return &*rank;
  }
  return nullptr;
}

std::string mode_difference(const wire::Hello& hello, const RankEntry& other) {
  const std::string whose = detail::concat("rank ", other.hello.rank, " on ", other.hello.host);
  return first_of(
      {difference("device", hello.device, other.hello.device, whose),
       difference("expert_parallel", hello.expert_parallel ? "true" : "false",
                  other.hello.expert_parallel ? "true" : "false", whose),
       difference("checkpoint", hello.checkpoint_digest, other.hello.checkpoint_digest, whose)});
}

std::string job_difference(const wire::Hello& hello, const ReplicaEntry& replica) {
  if (replica.ranks.at(static_cast<std::size_t>(hello.rank))) {
    return detail::concat("rank ", hello.rank, " of this job is there already");
  }
  if (replica.phase != ReplicaEntry::Phase::kGathering)
    return "the job has been lost or is complete";
  const RankEntry* other = any_rank(replica);
  return other == nullptr ? std::string() : mode_difference(hello, *other);
}

}  // namespace

bool ReplicaEntry::has_all_ranks() const {
  return std::all_of(ranks.begin(), ranks.end(), [](const auto& rank) { return rank.has_value(); });
}

bool ReplicaEntry::is_all_ready() const {
  return std::all_of(ranks.begin(), ranks.end(),
                     [](const auto& rank) { return rank && rank->is_ready; });
}

std::string ReplicaEntry::name_of_rank(std::int32_t rank) const {
  const auto& entry = ranks.at(static_cast<std::size_t>(rank));
  std::string name = "rank " + std::to_string(rank);
  return entry ? name + " on " + entry->hello.host : name;
}

std::string ReplicaEntry::missing_ranks() const {
  std::string names;
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    const bool is_missing = outstanding                    ? !outstanding->has_answered[i]
                            : phase == Phase::kConfiguring ? !ranks[i]->is_ready
                                                           : !ranks[i].has_value();
    if (!is_missing) continue;
    if (!names.empty()) names += ", ";
    names += std::to_string(i);
  }
  return names;
}

ReplicaStatus ReplicaEntry::status(TimePoint now) const {
  ReplicaStatus status;
  status.id = id;
  status.epoch = epoch;
  status.state = is_lost()                  ? ReplicaState::kLost
                 : phase == Phase::kRunning ? ReplicaState::kReady
                                            : ReplicaState::kStarting;
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    RankStatus rank;
    rank.rank = static_cast<std::int32_t>(i);
    if (ranks[i]) {
      rank.host = ranks[i]->hello.host;
      rank.device = ranks[i]->hello.device;
      rank.up = !is_lost();
      rank.heartbeat_age =
          std::chrono::duration_cast<std::chrono::milliseconds>(now - ranks[i]->last_heard);
    }
    status.ranks.push_back(std::move(rank));
  }
  return status;
}

std::string refusal(const wire::Hello& hello,
                    const ClusterOptions& options,
                    const ReplicaEntry* replica,
                    const ReplicaEntry* other) {
  if (hello.token != options.token) {
    return "the shared token is wrong or missing (--control-token-file of the coordinator)";
  }
  if (hello.job_id.empty()) return "the job has no id";
  if (!is_legal_tp(hello.tp)) {
    return detail::concat(hello.tp, " ranks; a job has 1, 2, 4 or 8");
  }
  if (hello.rank < 0 || hello.rank >= hello.tp) {
    return detail::concat("rank ", hello.rank, " of ", hello.tp);
  }
  if (hello.kv_bytes_per_token <= 0 ||
      hello.kv_memory_bytes / hello.kv_bytes_per_token < options.page_size) {
    return detail::concat("KV memory of ", hello.kv_memory_bytes,
                          " bytes does not hold one page of ", options.page_size, " tokens of ",
                          hello.kv_bytes_per_token, " bytes; raise --kv-memory");
  }
  if (replica != nullptr) {
    if (replica->tp() != hello.tp) {
      return detail::concat("its job has ", replica->tp(), " ranks, not ", hello.tp);
    }
    const std::string text = job_difference(hello, *replica);
    if (!text.empty()) return text;
  }
  const RankEntry* mode = other == nullptr ? nullptr : any_rank(*other);
  return mode == nullptr ? std::string() : mode_difference(hello, *mode);
}

std::int32_t common_num_pages(const ReplicaEntry& replica, std::int32_t page_size) {
  std::int64_t num_pages = kMaxPages;
  for (const auto& rank : replica.ranks) {
    const wire::Hello& hello = rank.value().hello;
    num_pages = std::min(num_pages, hello.kv_memory_bytes / hello.kv_bytes_per_token / page_size);
  }
  TESSERA_CHECK(num_pages > 0, "a rank without room for a page joined");
  return static_cast<std::int32_t>(num_pages);
}

}  // namespace tessera
