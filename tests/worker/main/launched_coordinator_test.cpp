#include "worker/main/launched_coordinator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/support/error_matchers.h"
#include "worker/comm/host_ranks.h"

namespace tessera {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(LaunchedCoordinatorTest, ListensWhereOnlyThisHostConnectsUnlessToldOtherwise) {
  const CoordinatorCommand command = complete_command({"/bin/c", "model"}, "");
  EXPECT_EQ(command.words.front(), "/bin/c");
  EXPECT_THAT(command.endpoint, StartsWith("ipc://@tessera-"));
  EXPECT_THAT(command.words, Contains("--control-endpoint=" + command.endpoint));
  EXPECT_THAT(command.words, Contains("--model=model"));
}

TEST(LaunchedCoordinatorTest, KeepsAnEndpointAndNamesTheHostForEveryInterface) {
  const auto endpoint_of = [](const std::string& endpoint) {
    return complete_command({"c", "m", "--control-endpoint", endpoint}, "").endpoint;
  };
  EXPECT_EQ(endpoint_of("tcp://10.0.0.1:9000"), "tcp://10.0.0.1:9000");
  EXPECT_EQ(endpoint_of("tcp://0.0.0.0:9000"), "tcp://" + host_name() + ":9000");
  EXPECT_ERROR(endpoint_of("tcp://10.0.0.1:*"), kInvalidArgument);
}

TEST(LaunchedCoordinatorTest, TheTokenIsTheFilesElseTheGivenElseRandom) {
  EXPECT_EQ(complete_command({"c", "m"}, "given").token, "given");
  const std::string random = complete_command({"c", "m"}, "").token;
  EXPECT_EQ(random.size(), 32U);
  EXPECT_NE(complete_command({"c", "m"}, "").token, random);
  const std::string file = ::testing::TempDir() + "/launched_coordinator_token";
  std::ofstream(file) << "from the file\n";
  EXPECT_EQ(complete_command({"c", "m", "--control-token-file", file}, "given").token,
            "from the file");
}

TEST(LaunchedCoordinatorTest, RefusesWhatTheCoordinatorWouldRefuse) {
  EXPECT_ERROR(complete_command({"c", "m", "--prot", "1"}, ""), kInvalidArgument);
  EXPECT_ERROR(complete_command({"c", "--help"}, ""), kInvalidArgument);
}

}  // namespace
}  // namespace tessera
