// `tessera serve` as a user starts it: real processes, mpirun, HTTP. The ranks hold the hash model,
// whose text depends on every K/V row, so that a rebuilt request that differs in one shows.
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
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

constexpr int kLong = 300;  // tokens: a second of steps, so that a fault falls into the middle

std::vector<std::string> serve_command(const Flags& flags) {
  std::vector<std::string> command = {TESSERA_SERVE_WITH_WORKER, TESSERA_HASH_WORKER,
                                      TESSERA_COORDINATOR, TESSERA_TINY_SDAR, "--port=0"};
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

/// The answer when `fault` strikes in the middle of it.
void expect_same_text(ServedModelProcess& serve, const std::function<void()>& fault) {
  const ChatAnswer undisturbed = stream_chat(serve.url(), "How many?", kLong);
  ASSERT_TRUE(undisturbed.is_whole) << undisturbed.error;
  bool has_struck = false;
  const ChatAnswer answer = stream_chat(serve.url(), "How many?", kLong, once_under_way([&] {
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

TEST(ServeTest, AStoppedRankChangesNoTextAndIsKilled) {
  ServedModelProcess serve(serve_command({"--tp=2"}));
  serve.await_ready();
  std::vector<pid_t> ranks;
  expect_same_text(serve, [&] {
    ranks = ServedModelProcess::ranks_of(serve.jobs().at(0));
    kill(ranks.at(1), SIGSTOP);
  });
  EXPECT_TRUE(await_end_of(ranks).empty());
}

TEST(ServeTest, RanksDoNotOutliveAKilledMpirunEvenStopped) {
  ServedModelProcess serve(serve_command({"--tp=2"}));
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

TEST(ServeTest, AModelThatDoesNotLoadEndsWithItsCodeAndAdvice) {
  ServedModelProcess serve(serve_command({"--tp=2"}), {{"TESSERA_TEST_FAULT", "65"}});
  EXPECT_EQ(serve.await_exit(), 65);
  EXPECT_NE(serve.output().find("Its last lines:\n  this worker was told"), std::string::npos);
  EXPECT_NE(serve.output().find("the model could not be loaded"), std::string::npos);
}

TEST(ServeTest, AJobThatNeverComesUpEndsTheServer) {
  ServedModelProcess serve(serve_command({"--tp=2", "--join-timeout=1", "--restart-budget=1"}),
                           {{"TESSERA_TEST_FAULT", "hang"}});
  serve.await_output("starting 2 rank(s)", 2);
  const auto family = serve.family();
  EXPECT_EQ(serve.await_exit(), 69);
  EXPECT_NE(serve.output().find("not ready within 1 s"), std::string::npos) << serve.output();
  EXPECT_TRUE(await_end_of(family).empty());
}

TEST(ServeTest, AMissingProgramIsNamed) {
  std::vector<std::string> command = serve_command({"--restart-budget=0"});
  command.at(2) = "/nonexistent/tessera-coordinator";
  ServedModelProcess serve(command);
  EXPECT_EQ(serve.await_exit(), 127);
  EXPECT_NE(serve.output().find("cannot execute /nonexistent/tessera-coordinator"),
            std::string::npos);
}

TEST(ServeTest, ADrainLosesNoOpenRequest) {
  ServedModelProcess serve(serve_command({"--tp=2"}));
  serve.await_ready();
  std::atomic<int> num_under_way = 0;
  std::vector<std::future<ChatAnswer>> answers;
  for (int i = 0; i < 3; ++i) {
    answers.push_back(std::async(std::launch::async, [&, i] {
      return stream_chat(serve.url(), "Question " + std::to_string(i), 300, once_under_way([&] {
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
  const ChatAnswer cut = stream_chat(serve.url(), "How many?", 1500, once_under_way([&] {
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
