#include "common/log/log_setup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include "tests/support/error_matchers.h"

namespace tessera {
namespace {

using ::testing::ContainsRegex;
using ::testing::EndsWith;
using ::testing::internal::CaptureStderr;
using ::testing::internal::GetCapturedStderr;

TEST(LogSetupTest, TextNamesLevelAndSource) {
  CaptureStderr();
  set_up_log("info", "text", "rank 3");
  spdlog::warn("late");
  spdlog::debug("not shown");
  EXPECT_THAT(GetCapturedStderr(), ContainsRegex("^[0-9-]+ [0-9:.]+ warning rank 3: late\n$"));
}

TEST(LogSetupTest, JsonIsOneObjectPerLineWhateverTheMessage) {
  CaptureStderr();
  set_up_log("error", "json", "coordinator");
  spdlog::error("{}", "a \"b\" \\ c\nd\x01");
  EXPECT_THAT(GetCapturedStderr(), EndsWith(R"("level":"error","source":"coordinator",)"
                                            R"("message":"a \"b\" \\ c\u000ad\u0001"})"
                                            "\n"));
}

TEST(LogSetupTest, UnknownNamesAreRefused) {
  EXPECT_ERROR(set_up_log("loud", "text", "x"), kInvalidArgument);
  EXPECT_ERROR(set_up_log("info", "xml", "x"), kInvalidArgument);
}

}  // namespace
}  // namespace tessera
