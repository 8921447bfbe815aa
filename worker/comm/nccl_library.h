#pragma once

#include <cstddef>

namespace tessera {

/// NCCL, loaded at run time: programs are built and start without it. What is declared here is part
/// of its stable interface (nccl.h of NCCL 2), by the names there without their "nccl".
struct NcclLibrary {
  struct Communicator;  ///< ncclComm
  struct UniqueId {
    char internal[128];
  };
  using Result = int;  ///< ncclResult_t
  static constexpr Result kSuccess = 0;
  static constexpr Result kInProgress = 7;
  static constexpr int kFloat32 = 7;  ///< ncclDataType_t
  using Stream = void*;               ///< cudaStream_t

  Result (*get_unique_id)(UniqueId* id);
  Result (*comm_init_rank)(Communicator** comm, int num_ranks, UniqueId id, int rank);
  Result (*comm_abort)(Communicator* comm);
  Result (*comm_get_async_error)(Communicator* comm, Result* error);
  Result (*all_gather)(
      const void* mine, void* all, std::size_t count, int dtype, Communicator* comm, Stream stream);
  Result (*send)(
      const void* data, std::size_t count, int dtype, int peer, Communicator* comm, Stream stream);
  Result (*recv)(
      void* data, std::size_t count, int dtype, int peer, Communicator* comm, Stream stream);
  Result (*group_start)();
  Result (*group_end)();
  const char* (*get_error_string)(Result result);
  const char* (*get_last_error)(Communicator* comm);

  /// Loads libnccl.so.2 on first use; it stays until the process ends.
  /// @throws Error{kDevice} if it is not there or lacks a function, naming the option that does
  ///         without it.
  static const NcclLibrary& load();

  /// @throws Error{kDevice} naming the library, the function and what NCCL says, unless `result` is
  ///         success.
  void check(Result result, const char* function) const;
};

}  // namespace tessera
