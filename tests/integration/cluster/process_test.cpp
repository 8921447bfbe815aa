#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/integration/cluster/test_cluster.h"

namespace tessera {
namespace {

using std::chrono::milliseconds;
using testing::hash_request;
using testing::TestCoordinator;
using testing::tokens_alone;

/// `mpirun -n tp hash_worker`, ended with the test.
class Job {
 public:
  Job(const TestCoordinator& coordinator, const std::string& id, int tp) {
    const std::string ranks = std::to_string(tp);
    std::vector<std::string> words = {"mpirun",
                                      "--allow-run-as-root",
                                      "--oversubscribe",
                                      "--bind-to",
                                      "none",
                                      "--mca",
                                      "btl",
                                      "self,vader",
                                      "--mca",
                                      "btl_vader_single_copy_mechanism",
                                      "none",
                                      "-n",
                                      ranks,
                                      TESSERA_HASH_WORKER,
                                      coordinator.engine.endpoint(),
                                      "secret",
                                      id};
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGTERM);
      execvp(argv[0], argv.data());
      _exit(127);
    }
  }

  ~Job() {
    if (pid_ <= 0) return;
    kill(pid_, SIGTERM);
    wait_for_end();
  }

  int wait_for_end() {
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  /// Process ids of the ranks: the children of mpirun.
  std::vector<pid_t> ranks() const {
    const std::string pid = std::to_string(pid_);
    std::ifstream children("/proc/" + pid + "/task/" + pid + "/children");
    std::vector<pid_t> pids;
    for (pid_t child = 0; children >> child;) pids.push_back(child);
    return pids;
  }

 private:
  pid_t pid_ = -1;
};

ClusterOptions supervised_options() {
  auto options = TestCoordinator::quick_options();
  options.supervised = true;
  options.heartbeat_timeout = milliseconds(2000);
  return options;
}

TEST(ClusterProcessTest, ServesWithRanksUnderMpirun) {
  TestCoordinator coordinator;
  Job job(coordinator, "job", 2);
  coordinator.engine.submit(hash_request(1, 50, 200));
  EXPECT_EQ(coordinator.sink.await_last(1).tokens, tokens_alone(hash_request(1, 50, 200)));
  coordinator.engine.stop();
  EXPECT_EQ(job.wait_for_end(), 0) << "goodbye ends the job in order";
}

TEST(ClusterProcessTest, AKilledRankIsNoticedWithinASecondAndItsRequestGoesOn) {
  TestCoordinator coordinator(supervised_options());
  Job first(coordinator, "job 1", 2);
  coordinator.await_event(ClusterEventKind::kReplicaReady);
  const auto ranks = first.ranks();
  ASSERT_EQ(ranks.size(), 2U);
  coordinator.engine.submit(hash_request(1, 50, 900));
  coordinator.sink.await_first_token(1);
  kill(ranks[1], SIGKILL);
  const auto killed_at = std::chrono::steady_clock::now();
  coordinator.await_event(ClusterEventKind::kReplicaLost);
  EXPECT_LT(std::chrono::steady_clock::now() - killed_at, milliseconds(1000));
  EXPECT_NE(first.wait_for_end(), 0);

  Job second(coordinator, "job 2", 2);
  const auto answer = coordinator.sink.await_last(1);
  EXPECT_FALSE(answer.failure.has_value());
  EXPECT_EQ(answer.tokens, tokens_alone(hash_request(1, 50, 900)));
}

TEST(ClusterProcessTest, AStoppedRankIsTornDownAndItsRequestGoesOn) {
  TestCoordinator coordinator(supervised_options());
  Job first(coordinator, "job 1", 2);
  coordinator.await_event(ClusterEventKind::kReplicaReady);
  const auto ranks = first.ranks();
  ASSERT_EQ(ranks.size(), 2U);
  kill(ranks[1], SIGSTOP);
  coordinator.engine.submit(hash_request(1, 50, 200));
  coordinator.await_event(ClusterEventKind::kReplicaLost);
  EXPECT_NE(first.wait_for_end(), 0) << "rank 0 leaves, mpirun ends the stopped one";

  Job second(coordinator, "job 2", 2);
  EXPECT_EQ(coordinator.sink.await_last(1).tokens, tokens_alone(hash_request(1, 50, 200)));
}

// A busy machine may not run a healthy rank for a while; its connection stands.
TEST(ClusterProcessTest, ARankThatStandsStillForTwoSecondsIsNotLost) {
  auto options = supervised_options();
  options.heartbeat_timeout = ClusterOptions{}.heartbeat_timeout;
  TestCoordinator coordinator(options);
  Job job(coordinator, "job", 2);
  coordinator.await_event(ClusterEventKind::kReplicaReady);
  const auto ranks = job.ranks();
  ASSERT_EQ(ranks.size(), 2U);
  kill(ranks[1], SIGSTOP);
  coordinator.engine.submit(hash_request(1, 50, 200));
  const auto until = std::chrono::steady_clock::now() + milliseconds(2000);
  while (std::chrono::steady_clock::now() < until) {
    ASSERT_EQ(coordinator.engine.status().state, ServerState::kReady);
    std::this_thread::yield();
  }
  kill(ranks[1], SIGCONT);
  EXPECT_EQ(coordinator.sink.await_last(1).tokens, tokens_alone(hash_request(1, 50, 200)));
}

TEST(ClusterProcessTest, TwoJobsJoinByHand) {
  TestCoordinator coordinator;
  Job first(coordinator, "job 1", 1);
  Job second(coordinator, "job 2", 2);
  coordinator.await_event(ClusterEventKind::kReplicaReady, 2);
  for (RequestId id = 1; id <= 4; ++id) coordinator.engine.submit(hash_request(id, 30, 100));
  for (RequestId id = 1; id <= 4; ++id) {
    EXPECT_EQ(coordinator.sink.await_last(id).tokens, tokens_alone(hash_request(id, 30, 100)));
  }
}

}  // namespace
}  // namespace tessera
