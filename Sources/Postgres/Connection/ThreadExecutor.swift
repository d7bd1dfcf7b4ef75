import Glibc

/// Runs an actor's jobs, in order, on one thread of its own. The thread ends when the executor is released.
final class ThreadExecutor: SerialExecutor {
    private let queue: JobQueue

    init(name: String) throws(PostgresError) {
        let queue = JobQueue()
        self.queue = queue
        try DedicatedThread.start(name) { queue.runUntilStopped() }
    }

    deinit {
        queue.stop()
    }

    func enqueue(_ job: consuming ExecutorJob) {
        queue.push(JobQueue.Job(job: UnownedJob(job), executor: asUnownedSerialExecutor()))
    }

    func asUnownedSerialExecutor() -> UnownedSerialExecutor {
        UnownedSerialExecutor(ordinary: self)
    }
}

/// The jobs that wait for the thread.
///
/// `@unchecked Sendable`: `waiting` and `isStopped` are touched only between locking and unlocking `mutex`. The thread
/// holds the queue, not the executor, so releasing the last reference to an actor ends its thread. An executor outlives
/// each of its jobs, because a job keeps its actor and the actor keeps the executor.
private final class JobQueue: @unchecked Sendable {
    struct Job {
        let job: UnownedJob
        let executor: UnownedSerialExecutor
    }

    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let arrival = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var waiting: [Job] = []
    private var isStopped = false

    init() {
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(arrival, nil)
    }

    deinit {
        pthread_cond_destroy(arrival)
        pthread_mutex_destroy(mutex)
        arrival.deallocate()
        mutex.deallocate()
    }

    func push(_ job: Job) {
        pthread_mutex_lock(mutex)
        waiting.append(job)
        pthread_mutex_unlock(mutex)
        pthread_cond_signal(arrival)
    }

    func stop() {
        pthread_mutex_lock(mutex)
        isStopped = true
        pthread_mutex_unlock(mutex)
        pthread_cond_signal(arrival)
    }

    func runUntilStopped() {
        var batch: [Job] = []
        while true {
            pthread_mutex_lock(mutex)
            while waiting.isEmpty && !isStopped {
                pthread_cond_wait(arrival, mutex)
            }
            swap(&batch, &waiting)
            pthread_mutex_unlock(mutex)
            if batch.isEmpty {
                return
            }
            for item in batch {
                item.job.runSynchronously(on: item.executor)
            }
            batch.removeAll(keepingCapacity: true)
        }
    }
}
