#include "worker/comm/slot_exchange.h"

#include <string>

#include "common/base/error.h"

namespace tessera {

void throw_late(std::string_view call, std::uint32_t late, std::chrono::milliseconds timeout) {
  std::string names;
  for (std::int32_t rank = 0; rank < kMaxRanks; ++rank) {
    if ((late >> rank & 1U) != 0) names += (names.empty() ? "" : ", ") + std::to_string(rank);
  }
  throw Error(ErrorCode::kDevice, detail::concat("rank ", names, " did not come to ", call,
                                                 " within ", timeout.count(), " ms"));
}

}  // namespace tessera
