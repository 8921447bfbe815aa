// The one-job form with the bundled model: coordinator and ranks under a single mpirun.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <functional>
#include <future>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/cli/client/http_client.h"
#include "tests/integration/one_job/job_process.h"

namespace tessera {
namespace {

using ::testing::HasSubstr;
using testing::JobProcess;

const std::string kModel = std::string(TESSERA_SOURCE_DIR) + "/deploy/models/tiny-sdar";

using Words = std::vector<std::string>;

Words operator+(Words a, const Words& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// A program name without a path is the one beside the launcher.
const Words kLauncher = {"-n",       "1",  TESSERA_WORKER,        "--role",
                         "launcher", "--", "tessera-coordinator", kModel,
                         "--port",   "0"};

Words ranks(int tp, const std::string& backend = "cpu") {
  return {
      "-n", std::to_string(tp), TESSERA_WORKER, kModel, "--backend", backend, "--threads-per-rank",
      "1"};
}

constexpr int kMaxTries = 20'000;

// Asks again and again until the answer is as expected.
void await_answer(const ServerUrl& server,
                  const std::string& target,
                  const std::function<bool(const HttpAnswer&)>& is_expected) {
  const HttpCall call{server, target, "", "", std::chrono::seconds(10)};
  for (int tries = 0; tries < kMaxTries; ++tries) {
    if (is_expected(blocking_http_request(call))) return;
  }
  FAIL() << target << " still says:\n" << blocking_http_request(call).body;
}

ServerUrl await_ready(JobProcess& job) {
  const ServerUrl server{"127.0.0.1", job.await_output("serving on http://127.0.0.1:"), ""};
  job.await_output("replica 0 is ready");
  await_answer(server, "/health/ready", [](const HttpAnswer& answer) { return answer.is_ok(); });
  return server;
}

HttpCall chat(const ServerUrl& server, int max_tokens, bool stream) {
  const std::string body =
      R"({"model":"default","messages":[{"role":"user","content":"Tom has 3 apples."}],)"
      R"("temperature":0,"ignore_eos":true,)"
      // A token a step, so that a request lasts for thousands of steps if it may.
      R"("decoding":{"block_size":4,"buffer_size":1,"accept_threshold":1},"max_tokens":)" +
      std::to_string(max_tokens) + R"(,"stream":)" + (stream ? "true}" : "false}");
  return {server, "/v1/chat/completions", "", body, std::chrono::seconds(60)};
}

// Runs `action` at the first event of a streamed answer.
HttpAnswer stream(const HttpCall& call,
                  std::string& last_event,
                  const std::function<void()>& action) {
  bool is_first = true;
  return blocking_http_request(call, [&](std::string_view payload) {
    last_event = payload;
    if (std::exchange(is_first, false)) action();
  });
}

TEST(OneJobTest, ServesAndDrainsWhenTheLauncherIsAskedToEnd) {
  JobProcess job(kLauncher + Words{"--tp", "2", ":"} + ranks(2));
  const pid_t launcher = std::stoi(job.await_output("launcher: process "));
  const ServerUrl server = await_ready(job);
  EXPECT_THAT(blocking_http_request(chat(server, 8, false)).body, HasSubstr("\"content\":"));

  std::string last_event;
  const HttpAnswer answer =
      stream(chat(server, 120, true), last_event, [&] { kill(launcher, SIGTERM); });
  EXPECT_TRUE(answer.is_ok() && answer.is_done) << "what was accepted is finished: " << last_event;
  EXPECT_EQ(job.await_exit(), 0) << job.output();
}

TEST(OneJobTest, AKilledRankEndsTheJobAndItsRequestsWith503) {
  JobProcess job(kLauncher + Words{"--tp", "2", ":"} +
                 ranks(2, "reference"));  // slow: it is killed in a step
  const ServerUrl server = await_ready(job);
  auto answer = std::async(std::launch::async,
                           [&] { return blocking_http_request(chat(server, 3500, false)); });
  await_answer(server, "/metrics", [](const HttpAnswer& metrics) {
    return metrics.body.find("\ntessera_requests_running{replica=\"0\"} 1") != std::string::npos;
  });
  kill(job.processes().at(2), SIGKILL);
  const HttpAnswer lost = answer.get();
  EXPECT_EQ(lost.status, 503);
  EXPECT_THAT(lost.body, HasSubstr("rank_lost"));
  // mpirun's own code is that of the process that failed first: here of the killed one.
  EXPECT_EQ(job.await_exit(), 128 + SIGKILL);
  EXPECT_THAT(job.output(), HasSubstr("launcher: the coordinator ended with 68"));
}

TEST(OneJobTest, AStoppedRankEndsTheJobWith68) {
  JobProcess job(kLauncher + Words{"--tp", "2", "--heartbeat-timeout", "2s", ":"} + ranks(2));
  const ServerUrl server = await_ready(job);
  kill(job.processes().at(2), SIGSTOP);
  const HttpAnswer answer = blocking_http_request(chat(server, 8, false));
  EXPECT_EQ(answer.status, 503);
  EXPECT_THAT(answer.body, HasSubstr("rank_lost"));
  EXPECT_EQ(job.await_exit(), 68) << job.output();
}

TEST(OneJobTest, TheCoordinatorsExitCodeIsTheJobs) {
  JobProcess job(kLauncher + Words{"--host", "192.0.2.1", ":"} + ranks(1));
  EXPECT_EQ(job.await_exit(), 64) << job.output();
  EXPECT_THAT(job.output(), HasSubstr("192.0.2.1"));
}

TEST(OneJobTest, TheLauncherComesFirst) {
  JobProcess job(ranks(1) + Words{":"} + kLauncher);
  EXPECT_EQ(job.await_exit(), 64);
  EXPECT_THAT(job.output(), HasSubstr("must be the one first process"));
}

TEST(WorkerProcessTest, WithoutCoordinatorAndLauncherItSaysWhatIsMissing) {
  JobProcess job(ranks(2));
  EXPECT_EQ(job.await_exit(), 64);
  EXPECT_THAT(job.output(), HasSubstr("--coordinator tcp://HOST:PORT"));
}

TEST(WorkerProcessTest, AModelThatCannotBeLoadedIsNamed) {
  JobProcess job({"-n", "2", TESSERA_WORKER, "/nowhere", "--coordinator", "tcp://127.0.0.1:9"});
  EXPECT_EQ(job.await_exit(), 65) << job.output();
  EXPECT_THAT(job.output(), HasSubstr("/nowhere"));
}

TEST(WorkerProcessTest, ANumberOfRanksThatIsNoTensorParallelDegreeIsRefused) {
  JobProcess job(ranks(3) + Words{"--coordinator", "tcp://127.0.0.1:9"});
  EXPECT_EQ(job.await_exit(), 64) << job.output();
  EXPECT_THAT(job.output(), HasSubstr("allowed: 1, 2, 4, 8"));
}

}  // namespace
}  // namespace tessera
