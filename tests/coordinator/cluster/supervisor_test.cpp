#include "coordinator/cluster/supervisor.h"

#include <gtest/gtest.h>

namespace tessera {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using Kind = SupervisorAction::Kind;

class SupervisorTest : public ::testing::Test {
 protected:
  static SupervisorOptions options(int num_replicas) {
    SupervisorOptions options;
    options.num_replicas = num_replicas;
    options.restart_budget = 2;
    return options;
  }

  /// The only action there is.
  static SupervisorAction only(Supervisor& supervisor) {
    const auto actions = supervisor.take_actions();
    EXPECT_EQ(actions.size(), 1U);
    return actions.empty() ? SupervisorAction{} : actions.front();
  }

  /// Lets the back-off pass; the job that starts then.
  std::string restarted(Supervisor& supervisor) {
    EXPECT_TRUE(supervisor.take_actions().empty()) << "restarts wait";
    now = supervisor.next_deadline().value();
    supervisor.on_time(now);
    const SupervisorAction action = only(supervisor);
    EXPECT_EQ(action.kind, Kind::kStartJob);
    return action.job_id;
  }

  TimePoint now = TimePoint{} + seconds(1000);
};

TEST_F(SupervisorTest, StartsOneJobPerReplicaUnderNamesOfTheirOwn) {
  Supervisor supervisor(options(2));
  supervisor.start(now);
  const auto actions = supervisor.take_actions();
  ASSERT_EQ(actions.size(), 2U);
  EXPECT_EQ(actions[1].slot, 1);
  EXPECT_NE(actions[0].job_id, actions[1].job_id);
}

TEST_F(SupervisorTest, RestartsALostReplicaWithGrowingBackOffUntilTheBudgetIsSpent) {
  Supervisor supervisor(options(1));
  supervisor.start(now);
  std::string job = only(supervisor).job_id;
  for (int restart = 0; restart < 2; ++restart) {
    supervisor.on_replica_ready(job, now);
    supervisor.on_replica_lost(job, now);
    EXPECT_EQ(only(supervisor).kind, Kind::kEndJob);
    supervisor.on_job_exit(0, 137, now);
    EXPECT_EQ(supervisor.next_deadline(), now + milliseconds(500) * (1 << restart));
    job = restarted(supervisor);
  }
  supervisor.on_job_exit(0, 137, now);
  const SupervisorAction action = only(supervisor);
  EXPECT_EQ(action.kind, Kind::kGiveUp);
  EXPECT_NE(action.text.find("137"), std::string::npos);
  EXPECT_EQ(supervisor.next_deadline(), std::nullopt);
}

TEST_F(SupervisorTest, KillsAJobThatDoesNotEnd) {
  Supervisor supervisor(options(1));
  supervisor.start(now);
  const std::string job = only(supervisor).job_id;
  supervisor.on_replica_lost(job, now);
  EXPECT_EQ(only(supervisor).kind, Kind::kEndJob);
  now = supervisor.next_deadline().value();
  supervisor.on_time(now);
  EXPECT_EQ(only(supervisor).kind, Kind::kKillJob);
}

TEST_F(SupervisorTest, EndsAJobThatNeverComesUp) {
  Supervisor supervisor(options(1));
  supervisor.start(now);
  only(supervisor);
  supervisor.on_time(now + minutes(5) - milliseconds(1));
  EXPECT_TRUE(supervisor.take_actions().empty());
  supervisor.on_time(now + minutes(5));
  const SupervisorAction action = only(supervisor);
  EXPECT_EQ(action.kind, Kind::kEndJob);
  EXPECT_NE(action.text.find("not ready within 300 s"), std::string::npos) << action.text;
}

TEST_F(SupervisorTest, AServerThatWasNeverReadyEndsWhenTheBudgetIsSpent) {
  Supervisor supervisor(options(1));
  supervisor.start(now);
  only(supervisor);
  for (int restart = 0; restart < 2; ++restart) {
    supervisor.on_job_exit(0, 1, now);
    restarted(supervisor);
  }
  supervisor.on_job_exit(0, 1, now);
  const auto actions = supervisor.take_actions();
  ASSERT_EQ(actions.size(), 2U);
  EXPECT_EQ(actions[0].kind, Kind::kGiveUp);
  EXPECT_EQ(actions[1].kind, Kind::kStopCoordinator);
  supervisor.on_coordinator_exit(0, now);
  EXPECT_EQ(only(supervisor).exit_code, 69);
}

TEST_F(SupervisorTest, AStableReplicaHasItsWholeBudgetAgain) {
  Supervisor supervisor(options(1));
  supervisor.start(now);
  std::string job = only(supervisor).job_id;
  for (int restart = 0; restart < 6; ++restart) {
    supervisor.on_replica_ready(job, now);
    now += minutes(10);
    supervisor.on_job_exit(0, 68, now);
    job = restarted(supervisor);
  }
}

TEST_F(SupervisorTest, WhatWouldComeAgainEndsTheServerWithItsCode) {
  for (const int code : {64, 65, 66}) {
    Supervisor supervisor(options(1));
    supervisor.start(now);
    only(supervisor);
    supervisor.on_job_exit(0, code, now);
    EXPECT_EQ(only(supervisor).kind, Kind::kStopCoordinator);
    supervisor.on_coordinator_exit(0, now);
    const SupervisorAction action = only(supervisor);
    EXPECT_EQ(action.kind, Kind::kExit);
    EXPECT_EQ(action.exit_code, code);
  }
}

TEST_F(SupervisorTest, AServerThatWasReadyIsRestartedWhateverItsJobEndsWith) {
  for (const int code : {64, 65, 66}) {
    Supervisor supervisor(options(1));
    supervisor.start(now);
    supervisor.on_replica_ready(only(supervisor).job_id, now);
    supervisor.on_job_exit(0, code, now);
    ASSERT_TRUE(supervisor.next_deadline().has_value());
    supervisor.on_time(*supervisor.next_deadline());
    EXPECT_EQ(only(supervisor).kind, Kind::kStartJob);
  }
}

TEST_F(SupervisorTest, StopsInOrderAndExitsWithZero) {
  Supervisor supervisor(options(1));
  supervisor.start(now);
  supervisor.on_replica_ready(only(supervisor).job_id, now);
  supervisor.on_stop_signal(now);
  EXPECT_EQ(only(supervisor).kind, Kind::kStopCoordinator);
  supervisor.on_stop_signal(now);
  EXPECT_EQ(only(supervisor).kind, Kind::kStopCoordinator) << "the second signal goes on too";
  supervisor.on_coordinator_exit(0, now);
  EXPECT_TRUE(supervisor.take_actions().empty()) << "the ranks were told to leave";
  supervisor.on_job_exit(0, 0, now);
  const SupervisorAction action = only(supervisor);
  EXPECT_EQ(action.kind, Kind::kExit);
  EXPECT_EQ(action.exit_code, 0);
}

TEST_F(SupervisorTest, StartsNoJobAfterAStopSignal) {
  Supervisor supervisor(options(1));
  supervisor.on_stop_signal(now);
  EXPECT_EQ(only(supervisor).kind, Kind::kStopCoordinator);
  supervisor.start(now);
  EXPECT_TRUE(supervisor.take_actions().empty());
  supervisor.on_coordinator_exit(0, now);
  EXPECT_EQ(only(supervisor).exit_code, 0);
}

TEST_F(SupervisorTest, KillsACoordinatorThatDoesNotEnd) {
  Supervisor supervisor(options(1));
  supervisor.on_stop_signal(now);
  only(supervisor);
  EXPECT_EQ(supervisor.next_deadline(), now + seconds(40));
  supervisor.on_stop_signal(now);
  only(supervisor);
  EXPECT_EQ(supervisor.next_deadline(), now + seconds(4)) << "the second signal shortens it";
  supervisor.on_time(now + seconds(4));
  EXPECT_EQ(only(supervisor).kind, Kind::kKillCoordinator);
  supervisor.on_coordinator_exit(137, now);
  EXPECT_EQ(only(supervisor).exit_code, 137);
}

TEST_F(SupervisorTest, TheDeathOfTheCoordinatorEndsEverything) {
  Supervisor supervisor(options(1));
  supervisor.start(now);
  supervisor.on_replica_ready(only(supervisor).job_id, now);
  supervisor.on_coordinator_exit(139, now);
  EXPECT_EQ(only(supervisor).kind, Kind::kEndJob);
  supervisor.on_job_exit(0, 68, now);
  EXPECT_EQ(only(supervisor).exit_code, 139);
}

}  // namespace
}  // namespace tessera
