#pragma once

#include <cstddef>
#include <span>

#include "common/wire/channel.h"

namespace tessera {

/// How the cluster reaches its ranks: a socket, or a simulation. Does not block.
class RankTransport {
 public:
  virtual ~RankTransport() = default;
  [[nodiscard]] virtual wire::SendOutcome send(const wire::PeerId& peer,
                                               std::span<const std::byte> bytes) = 0;
};

}  // namespace tessera
