// `tessera serve` as a user starts it: the bundled model, real processes, mpirun, HTTP.
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <string>
#include <vector>

#include "tests/integration/serve/chat_stream.h"
#include "tests/integration/serve/served_model_process.h"

namespace tessera {
namespace {

using testing::await_end_of;
using testing::ChatAnswer;
using testing::once_under_way;
using testing::ServedModelProcess;
using testing::stream_chat;
using Flags = std::vector<std::string>;

constexpr int kLong = 150;  // tokens: a second of steps, so that a fault falls into the middle

std::vector<std::string> serve_command(const Flags& flags) {
  std::vector<std::string> command = {TESSERA_PROGRAM, "serve", TESSERA_TINY_SDAR, "--port=0"};
  command.insert(command.end(), flags.begin(), flags.end());
  return command;
}

HttpAnswer get(const ServerUrl& server, const std::string& target) {
  return blocking_http_request({server, target, "", "", std::chrono::seconds(10)});
}

TEST(ServeTest, AnswersAndLeavesNothingBehind) {
  ServedModelProcess serve(serve_command({"--tp=2"}));
  serve.await_ready();
  EXPECT_EQ(get(serve.url(), "/health/ready").status, 200);
  const ChatAnswer answer = stream_chat(serve.url(), "How many?", 30);
  EXPECT_TRUE(answer.is_whole) << answer.error;
  EXPECT_FALSE(answer.text.empty());

  const auto family = serve.family();
  EXPECT_EQ(family.size(), 5U) << "serve, coordinator, mpirun and two ranks";
  serve.send_signal(SIGTERM);
  EXPECT_EQ(serve.await_exit(), 0) << serve.output();
  EXPECT_TRUE(await_end_of(family).empty());
}

// The text is the same on any number of ranks, in that mode.
TEST(ServeTest, ServesExpertsDividedAmongRanks) {
  std::string text;
  for (const char* tp : {"--tp=1", "--tp=2"}) {
    ServedModelProcess serve(
        {TESSERA_PROGRAM, "serve", TESSERA_TINY_LLADA2, "--port=0", tp, "--expert-parallel"});
    serve.await_ready();
    const ChatAnswer answer = stream_chat(serve.url(), "How many legs have 18 spiders?", 60);
    EXPECT_TRUE(answer.is_whole) << answer.error;
    EXPECT_FALSE(answer.text.empty());
    if (text.empty()) text = answer.text;
    EXPECT_EQ(answer.text, text) << tp;
  }
}

TEST(ServeTest, RefusesToDivideExpertsOfAModelWithout) {
  ServedModelProcess serve(serve_command({"--expert-parallel"}));
  serve.await_output("this model has no experts to divide");
  EXPECT_EQ(serve.await_exit(), 64);
}

/// The answer when `fault` strikes in the middle of it.
void expect_same_text(ServedModelProcess& serve,
                      const std::function<void()>& fault,
                      const std::string& question = "How many?") {
  const ChatAnswer undisturbed = stream_chat(serve.url(), question, kLong);
  ASSERT_TRUE(undisturbed.is_whole) << undisturbed.error;
  bool has_struck = false;
  const ChatAnswer answer = stream_chat(serve.url(), question, kLong, once_under_way([&] {
                                          has_struck = true;
                                          fault();
                                        }));
  EXPECT_TRUE(has_struck);
  EXPECT_TRUE(answer.is_whole) << answer.error << "\n" << serve.output();
  EXPECT_EQ(answer.text, undisturbed.text);
}

TEST(ServeTest, AKilledRankChangesNoText) {
  ServedModelProcess serve(serve_command({"--tp=2"}));
  serve.await_ready();
  expect_same_text(serve, [&] {
    const auto ranks = ServedModelProcess::ranks_of(serve.jobs().at(0));
    kill(ranks.at(1), SIGKILL);
  });
  serve.await_output("replica 0 is ready", 2);
}

// What the canvas in progress is conditioned on is lost with the ranks: it begins again.
TEST(ServeTest, AKilledRankChangesNoTextOfCanvases) {
  const char* models = std::getenv("TESSERA_MODELS_DIR");
  if (models == nullptr) GTEST_SKIP() << "TESSERA_MODELS_DIR is not set";
  const std::string model = std::string(models) + "/tiny-diffusion_gemma";
  ServedModelProcess serve({TESSERA_PROGRAM, "serve", model, "--port=0", "--tp=2"});
  serve.await_ready();
  const auto kill_a_rank = [&] {
    const auto ranks = ServedModelProcess::ranks_of(serve.jobs().at(0));
    kill(ranks.at(0), SIGKILL);
  };
  expect_same_text(serve, kill_a_rank, "Count from 56 to 96 by 1.");
  serve.await_output("replica 0 is ready", 2);
}

TEST(ServeTest, AStoppedRankChangesNoTextAndIsKilled) {
  ServedModelProcess serve(serve_command({"--tp=2", "--heartbeat-timeout=2s"}));
  serve.await_ready();
  std::vector<pid_t> ranks;
  expect_same_text(serve, [&] {
    ranks = ServedModelProcess::ranks_of(serve.jobs().at(0));
    kill(ranks.at(1), SIGSTOP);
  });
  EXPECT_TRUE(await_end_of(ranks).empty());
}

TEST(ServeTest, RanksDoNotOutliveAKilledMpirunEvenStopped) {
  ServedModelProcess serve(serve_command({"--tp=2", "--heartbeat-timeout=2s"}));
  serve.await_ready();
  std::vector<pid_t> ranks;
  expect_same_text(serve, [&] {
    const pid_t job = serve.jobs().at(0);
    ranks = ServedModelProcess::ranks_of(job);
    kill(ranks.at(0), SIGSTOP);
    kill(job, SIGKILL);
  });
  EXPECT_EQ(ranks.size(), 2U);
  EXPECT_TRUE(await_end_of(ranks).empty());
}

TEST(ServeTest, TheOtherReplicaTakesOver) {
  ServedModelProcess serve(serve_command({"--replicas=2", "--restart-budget=0"}));
  serve.await_output("is ready:", 2);  // in the coordinator's log, of each replica
  serve.await_ready();
  ASSERT_EQ(serve.jobs().size(), 2U);
  // Whichever replica runs the request: after two faults without restarts none would be left.
  expect_same_text(serve, [&] { kill(serve.jobs().at(0), SIGKILL); });
  EXPECT_EQ(get(serve.url(), "/health/ready").status, 200);
  EXPECT_EQ(serve.jobs().size(), 1U);
}

TEST(ServeTest, AfterTheRestartBudgetRequestsFailClearly) {
  ServedModelProcess serve(serve_command({"--restart-budget=0"}));
  serve.await_ready();
  const ChatAnswer cut = stream_chat(serve.url(), "How many?", kLong,
                                     once_under_way([&] { kill(serve.jobs().at(0), SIGKILL); }));
  EXPECT_FALSE(cut.is_whole);
  EXPECT_NE(cut.error.find("workers of this server are lost"), std::string::npos) << cut.error;
  serve.await_output("requests are answered 503");
  EXPECT_EQ(get(serve.url(), "/health/ready").status, 503);
  EXPECT_EQ(get(serve.url(), "/health/live").status, 200);
  EXPECT_EQ(stream_chat(serve.url(), "And now?", 10).status, 503);
  serve.send_signal(SIGTERM);
  EXPECT_EQ(serve.await_exit(), 0);
}

TEST(ServeTest, AModelWithoutWeightsEndsWithItsCodeAndAdvice) {
  const std::filesystem::path dir = std::filesystem::path(::testing::TempDir()) / "no_weights";
  std::filesystem::remove_all(dir);
  std::filesystem::create_directory(dir);
  for (const auto& file : std::filesystem::directory_iterator(TESSERA_TINY_SDAR)) {
    if (file.path().extension() == ".safetensors") continue;
    std::filesystem::create_symlink(file.path(), dir / file.path().filename());
  }
  ServedModelProcess serve({TESSERA_PROGRAM, "serve", dir.string(), "--port=0", "--tp=2"});
  EXPECT_EQ(serve.await_exit(), 65) << serve.output();
  EXPECT_NE(serve.output().find("safetensors"), std::string::npos) << serve.output();
  EXPECT_NE(serve.output().find("What to do: the model could not be loaded"), std::string::npos);
}

TEST(ServeTest, GenerateAsksARunningServerOrOneOfItsOwn) {
  const std::string question = "A farm has 19 goats and 18 spiders. How many legs do they have?";
  ServedModelProcess serve(serve_command({"--tp=2"}));
  serve.await_ready();
  const std::string url = "http://127.0.0.1:" + serve.url().port;
  ServedModelProcess asking({TESSERA_PROGRAM, "generate", "--server", url, "--seed=4", question});
  EXPECT_EQ(asking.await_exit(), 0) << asking.output();
  EXPECT_NE(asking.output().find("#### "), std::string::npos) << asking.output();
  EXPECT_NE(asking.output().find("tokens per step, seed 4"), std::string::npos) << asking.output();

  ServedModelProcess alone({TESSERA_PROGRAM, "generate", TESSERA_TINY_SDAR, question, "--seed=4"});
  EXPECT_EQ(alone.await_exit(), 0) << alone.output();
  const auto text_of = [](const std::string& output) {
    return output.substr(0, output.find(" tokens in "));
  };
  EXPECT_EQ(text_of(alone.output()), text_of(asking.output())) << "one rank or two: the same";
}

TEST(ServeTest, ADrainLosesNoOpenRequest) {
  ServedModelProcess serve(serve_command({"--tp=2"}));
  serve.await_ready();
  std::atomic<int> num_under_way = 0;
  std::vector<std::future<ChatAnswer>> answers;
  for (int i = 0; i < 3; ++i) {
    answers.push_back(std::async(std::launch::async, [&, i] {
      return stream_chat(serve.url(), "Question " + std::to_string(i), kLong, once_under_way([&] {
                           if (++num_under_way == 3) serve.send_signal(SIGTERM);
                         }));
    }));
  }
  for (auto& answer : answers) {
    const ChatAnswer got = answer.get();
    EXPECT_TRUE(got.is_whole) << got.error;
  }
  EXPECT_EQ(serve.await_exit(), 0);
}

TEST(ServeTest, ASecondSignalEndsOpenRequestsAtOnce) {
  ServedModelProcess serve(serve_command({"--drain-timeout=1h"}));
  serve.await_ready();
  const ChatAnswer cut = stream_chat(serve.url(), "How many?", kLong, once_under_way([&] {
                                       serve.send_signal(SIGTERM);
                                       serve.await_output("new requests are refused");
                                       serve.send_signal(SIGTERM);
                                     }));
  EXPECT_FALSE(cut.is_whole);
  EXPECT_FALSE(cut.error.empty());
  EXPECT_EQ(serve.await_exit(), 0);
}

TEST(ServeTest, AKilledServeTakesItsChildrenAlong) {
  ServedModelProcess serve(serve_command({"--tp=2"}));
  serve.await_ready();
  const auto family = serve.family();
  serve.send_signal(SIGKILL);
  EXPECT_EQ(serve.await_exit(), 128 + SIGKILL);
  EXPECT_TRUE(await_end_of(family).empty());
}

}  // namespace
}  // namespace tessera
