#include "worker/main/worker_arguments.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/error_matchers.h"

namespace tessera {
namespace {

WorkerArguments split(const std::vector<const char*>& argv) {
  return split_role(static_cast<int>(argv.size()), argv.data());
}

std::vector<std::string> texts(const std::vector<const char*>& words) {
  return {words.begin(), words.end()};
}

using Texts = std::vector<std::string>;

TEST(WorkerArgumentsTest, FlagsOfARankAreLeftAsTheyAre) {
  for (const auto& argv :
       {std::vector<const char*>{"w", "model", "--port", "1"},
        std::vector<const char*>{"w", "model", "--role", "worker", "--port", "1"},
        std::vector<const char*>{"w", "--role=worker", "model", "--port", "1"}}) {
    const WorkerArguments arguments = split(argv);
    EXPECT_FALSE(arguments.is_launcher());
    EXPECT_EQ(texts(arguments.flags), (Texts{"w", "model", "--port", "1"}));
  }
}

TEST(WorkerArgumentsTest, TheLaunchersCommandIsWhatFollowsTheDashes) {
  const WorkerArguments arguments =
      split({"w", "--role", "launcher", "--", "c", "--role", "--", "x"});
  EXPECT_TRUE(arguments.is_launcher());
  EXPECT_EQ(arguments.command, (Texts{"c", "--role", "--", "x"}));
}

TEST(WorkerArgumentsTest, WrongRolesAreRefused) {
  EXPECT_ERROR(split({"w", "--role"}), kInvalidArgument);
  EXPECT_ERROR(split({"w", "--role", "boss"}), kInvalidArgument);
  EXPECT_ERROR(split({"w", "--role", "launcher"}), kInvalidArgument);
  EXPECT_ERROR(split({"w", "--role", "launcher", "--"}), kInvalidArgument);
  EXPECT_ERROR(split({"w", "model", "--role", "launcher", "--", "c"}), kInvalidArgument);
}

}  // namespace
}  // namespace tessera
