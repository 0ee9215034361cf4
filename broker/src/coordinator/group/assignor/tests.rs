use proptest::prelude::*;

use super::{Assignor, Question, Share, Subscriber};

fn question(topics: &[i32], members: &[(&[u32], &[Share])]) -> Question {
    Question {
        topics: topics.to_vec(),
        members: members
            .iter()
            .map(|(topics, held)| Subscriber {
                topics: topics.to_vec(),
                held: held.to_vec(),
            })
            .collect(),
    }
}

/// The question that comes after `answer`.
fn again(question: &Question, answer: &[Vec<Share>]) -> Question {
    let mut next = question.clone();
    for (member, held) in next.members.iter_mut().zip(answer) {
        member.held.clone_from(held);
    }
    next
}

/// Every partition that somebody wants is with exactly one that wants it.
fn assert_whole(question: &Question, answer: &[Vec<Share>]) {
    assert_eq!(answer.len(), question.members.len());
    let mut given: Vec<Share> = Vec::new();
    for (member, shares) in question.members.iter().zip(answer) {
        assert!(shares.is_sorted());
        for share in shares {
            assert!(member.topics.contains(&share.0), "{share:?} is not wanted");
            given.push(*share);
        }
    }
    given.sort_unstable();
    let mut wanted: Vec<Share> = Vec::new();
    for (topic, partitions) in (0..).zip(&question.topics) {
        if question.members.iter().any(|m| m.topics.contains(&topic)) {
            wanted.extend((0..*partitions).map(|partition| (topic, partition)));
        }
    }
    assert_eq!(given, wanted);
}

fn kept(before: &[Vec<Share>], after: &[Vec<Share>]) -> usize {
    let pairs = before.iter().zip(after);
    pairs
        .map(|(before, after)| before.iter().filter(|share| after.contains(share)).count())
        .sum()
}

#[test]
fn ranges_are_runs_in_the_order_of_members() {
    let question = question(&[5, 2], &[(&[0, 1], &[]), (&[0], &[]), (&[0, 1], &[])]);
    assert_eq!(
        Assignor::Range.assign(&question),
        [
            vec![(0, 0), (0, 1), (1, 0)],
            vec![(0, 2), (0, 3)],
            vec![(0, 4), (1, 1)],
        ]
    );
}

#[test]
fn a_newcomer_takes_only_its_share() {
    let first = question(&[6], &[(&[0], &[]), (&[0], &[])]);
    let before = Assignor::Uniform.assign(&first);
    assert_eq!(
        before,
        [vec![(0, 0), (0, 2), (0, 4)], vec![(0, 1), (0, 3), (0, 5)]]
    );
    let mut next = again(&first, &before);
    next.members.push(Subscriber {
        topics: vec![0],
        held: Vec::new(),
    });
    assert_eq!(
        Assignor::Uniform.assign(&next),
        [
            vec![(0, 0), (0, 2)],
            vec![(0, 1), (0, 3)],
            vec![(0, 4), (0, 5)]
        ]
    );
}

#[test]
fn nobody_and_nothing() {
    for assignor in [Assignor::Uniform, Assignor::Range] {
        assert!(assignor.assign(&question(&[3], &[])).is_empty());
        assert_eq!(assignor.assign(&question(&[3], &[(&[], &[])])), [vec![]]);
        assert_eq!(assignor.assign(&question(&[0], &[(&[0], &[])])), [vec![]]);
        // A topic that is not there, and partitions that are gone.
        let odd = question(&[1], &[(&[0, 7], &[(0, 5), (7, 0), (9, 9)])]);
        assert_eq!(assignor.assign(&odd), [vec![(0, 0)]]);
    }
}

#[test]
fn what_two_claim_stays_with_one() {
    let both = question(&[2], &[(&[0], &[(0, 0)]), (&[0], &[(0, 0)])]);
    assert_eq!(
        Assignor::Uniform.assign(&both),
        [vec![(0, 0)], vec![(0, 1)]]
    );
}

#[test]
fn names_are_those_of_kafka() {
    for assignor in [Assignor::Uniform, Assignor::Range] {
        assert_eq!(Assignor::named(assignor.name()), Some(assignor));
    }
    assert_eq!(Assignor::named("Uniform"), None);
}

/// The load generator has the time of it; this only sees that nothing is quadratic.
#[test]
fn many_partitions_to_many_members() {
    for different in [false, true] {
        let members = (0..1000u32).map(|member| Subscriber {
            topics: (0..100)
                .filter(|t| !different || (t + member) % 3 != 0)
                .collect(),
            held: Vec::new(),
        });
        let question = Question {
            topics: vec![100; 100],
            members: members.collect(),
        };
        let answer = Assignor::Uniform.assign(&question);
        assert_whole(&question, &answer);
        assert!(answer.iter().all(|shares| (9..=11).contains(&shares.len())));
        let next = again(&question, &answer);
        assert_eq!(Assignor::Uniform.assign(&next), answer);
    }
}

fn any_question(same: bool) -> impl Strategy<Value = Question> {
    let topics = prop::collection::vec(0i32..12, 1..6);
    let members = prop::collection::vec(
        (
            prop::collection::btree_set(0u32..6, 0..6),
            prop::collection::btree_set((0u32..7, 0i32..13), 0..12),
        ),
        0..8,
    );
    (topics, members).prop_map(move |(topics, members)| {
        let first = members.first().map(|(topics, _)| topics.clone());
        let members = members.into_iter().map(|(wanted, held)| {
            let wanted = if same {
                first.clone().unwrap_or_default()
            } else {
                wanted
            };
            Subscriber {
                topics: wanted
                    .into_iter()
                    .filter(|t| (*t as usize) < topics.len())
                    .collect(),
                held: held.into_iter().collect(),
            }
        });
        Question {
            members: members.collect(),
            topics: topics.clone(),
        }
    })
}

proptest! {
    #[test]
    fn every_partition_once(same: bool, question in any_question(false), alike in any_question(true)) {
        let question = if same { alike } else { question };
        for assignor in [Assignor::Uniform, Assignor::Range] {
            assert_whole(&question, &assignor.assign(&question));
        }
    }

    #[test]
    fn even_shares_when_all_want_the_same(question in any_question(true)) {
        let answer = Assignor::Uniform.assign(&question);
        let sizes = || answer.iter().map(Vec::len);
        prop_assert!(sizes().max().unwrap_or(0) <= sizes().min().unwrap_or(0) + 1);
        // Settled: asked again, nothing moves.
        prop_assert_eq!(&Assignor::Uniform.assign(&again(&question, &answer)), &answer);
    }

    #[test]
    fn no_single_move_makes_it_more_even(question in any_question(false)) {
        let answer = Assignor::Uniform.assign(&question);
        for (from, shares) in answer.iter().enumerate() {
            for (to, member) in question.members.iter().enumerate() {
                if answer[to].len() + 1 < answer[from].len() {
                    prop_assert!(
                        shares.iter().all(|(topic, _)| !member.topics.contains(topic)),
                        "member {to} could have one of member {from}: {answer:?}"
                    );
                }
            }
        }
        prop_assert_eq!(&Assignor::Uniform.assign(&again(&question, &answer)), &answer);
    }

    /// When a member comes or goes, nothing moves between those that stay, but for what balance asks.
    #[test]
    fn sticky(partitions in 0i32..60, members in 1usize..9, leaver in 0usize..9) {
        let everybody = Question {
            topics: vec![partitions],
            members: vec![Subscriber { topics: vec![0], held: Vec::new() }; members],
        };
        let before = Assignor::Uniform.assign(&everybody);
        let mut grown = again(&everybody, &before);
        grown.members.push(Subscriber { topics: vec![0], held: Vec::new() });
        let after = Assignor::Uniform.assign(&grown);
        let newcomer = after[members].len();
        prop_assert_eq!(kept(&before, &after) + newcomer, usize::try_from(partitions).unwrap());

        let leaver = leaver % (members + 1);
        let mut shrunk = again(&grown, &after);
        shrunk.members.remove(leaver);
        let mut stayed = after.clone();
        let gone = stayed.remove(leaver).len();
        let last = Assignor::Uniform.assign(&shrunk);
        if members > 0 {
            prop_assert_eq!(kept(&stayed, &last) + gone, usize::try_from(partitions).unwrap());
        }
    }
}
