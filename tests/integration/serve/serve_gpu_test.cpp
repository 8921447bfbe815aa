// `tessera serve` on GPUs: ranks, sharing one where there are fewer, and replicas.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/integration/serve/chat_stream.h"
#include "tests/integration/serve/served_model_process.h"

namespace tessera {
namespace {

using testing::ChatAnswer;
using testing::ServedModelProcess;
using testing::stream_chat;
using Flags = std::vector<std::string>;

class ServeGpuTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (dlopen("libcuda.so.1", RTLD_LAZY) == nullptr) GTEST_SKIP() << dlerror();
  }
};

std::string text_of(const Flags& flags) {
  std::vector<std::string> command = {TESSERA_PROGRAM,    "serve",          TESSERA_TINY_SDAR,
                                      "--port=0",         "--backend=cuda", "--join-timeout=60",
                                      "--kv-memory=64MiB"};
  command.insert(command.end(), flags.begin(), flags.end());
  ServedModelProcess serve(command);
  serve.await_ready();
  const ChatAnswer answer = stream_chat(serve.url(), "How many legs have 18 spiders?", 60);
  EXPECT_TRUE(answer.is_whole) << answer.error << serve.output();
  EXPECT_FALSE(answer.text.empty());
  return answer.text;
}

TEST_F(ServeGpuTest, TheTextIsThatOfOneRank) {
  const std::string text = text_of({"--deterministic", "--tp=1"});
  EXPECT_EQ(text_of({"--deterministic", "--tp=2"}), text);
  EXPECT_EQ(text_of({"--deterministic", "--tp=4"}), text);
  EXPECT_EQ(text_of({"--deterministic", "--tp=2", "--device-collectives=host"}), text);
}

TEST_F(ServeGpuTest, SumsInGraphsGiveTheTextOfEagerOnes) {
  for (const std::string tp : {"--tp=2", "--tp=4"}) {
    EXPECT_EQ(text_of({tp}), text_of({tp, "--eager"}));
  }
}

TEST_F(ServeGpuTest, ReplicasServeBehindOneCoordinator) {
  EXPECT_EQ(text_of({"--replicas=2"}), text_of({"--replicas=1"}));
}

}  // namespace
}  // namespace tessera
