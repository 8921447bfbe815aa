#pragma once

#include <cstdint>

namespace tessera {

using TokenId = std::int32_t;
using Position = std::int32_t;  ///< Absolute token position in a sequence, prompt included, from 0.
using BlockIndex = std::int32_t;  ///< Block i covers positions [i B, (i + 1) B).
using PageId =
    std::int32_t;  ///< Unit of KV memory; an id means the same on every rank of a replica.
using RequestId =
    std::uint64_t;  ///< One sequence being decoded; choice i of `n` has an id of its own.
using ReplicaId = std::int32_t;  ///< One tensor-parallel group of ranks.

}  // namespace tessera
