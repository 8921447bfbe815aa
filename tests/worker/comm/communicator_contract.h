#pragma once

#include <chrono>
#include <span>
#include <string>

#include "worker/comm/communicator.h"

namespace tessera::testing {

/// One property of Communicator. Every rank calls `run` with its communicator; expectations are
/// gtest's and may fail on any thread.
struct ContractCase {
  const char* name;
  void (*run)(Communicator& communicator);
};

/// What every communicator of every size keeps.
std::span<const ContractCase> communicator_contract();

/// A collective by name, with sizes of no interest.
struct CollectiveCall {
  const char* name;
  void (*run)(Communicator& communicator);
};

std::span<const CollectiveCall> collective_calls();

/// Expects that the call on this rank names `absent`, which makes no call at all, and that the
/// communicator is of no use afterwards.
void expect_absence_is_named(Communicator& communicator,
                             const CollectiveCall& call,
                             std::int32_t absent);

}  // namespace tessera::testing
