#include "worker/comm/nccl_library.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "common/base/error.h"

namespace tessera {
namespace {

using ::testing::HasSubstr;

std::string failure_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kDevice);
    return error.what();
  }
  return "no error";
}

// Both are right: a machine may have NCCL or not.
TEST(NcclLibraryTest, LoadsOrNamesTheOptionThatDoesWithoutIt) {
  const NcclLibrary* nccl = nullptr;
  const std::string failure = failure_of([&] { nccl = &NcclLibrary::load(); });
  if (nccl == nullptr) {
    EXPECT_THAT(failure, HasSubstr("libnccl.so.2"));
    EXPECT_THAT(failure, HasSubstr("--device-collectives host"));
    return;
  }
  const NcclLibrary::Result refused = nccl->get_unique_id(nullptr);
  EXPECT_NE(refused, NcclLibrary::kSuccess);
  EXPECT_THAT(failure_of([&] { nccl->check(refused, "ncclGetUniqueId"); }),
              HasSubstr("libnccl.so.2: ncclGetUniqueId: "));
  nccl->check(NcclLibrary::kSuccess, "nothing");
}

}  // namespace
}  // namespace tessera
