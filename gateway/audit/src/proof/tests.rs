use super::*;
use crate::Tree;
use proptest::prelude::*;

/// MTH of RFC 6962 section 2.1, word for word.
fn mth(leaves: &[Vec<u8>]) -> Hash {
    match leaves {
        [] => Hash::empty(),
        [one] => Hash::leaf(one),
        more => {
            let k = (1..).map(|i| 1 << i).take_while(|k| *k < more.len()).last().unwrap_or(1);
            Hash::node(&mth(&more[..k]), &mth(&more[k..]))
        }
    }
}

/// PATH of RFC 6962 section 2.1.1, word for word.
fn path(m: usize, leaves: &[Vec<u8>]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = (1..).map(|i| 1 << i).take_while(|k| *k < leaves.len()).last().unwrap_or(1);
    let (mut path, sibling) = if m < k {
        (path(m, &leaves[..k]), mth(&leaves[k..]))
    } else {
        (path(m - k, &leaves[k..]), mth(&leaves[..k]))
    };
    path.push(sibling);
    path
}

/// SUBPROOF of RFC 6962 section 2.1.2, word for word.
fn subproof(m: usize, leaves: &[Vec<u8>], is_whole: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if is_whole { Vec::new() } else { vec![mth(leaves)] };
    }
    let k = (1..).map(|i| 1 << i).take_while(|k| *k < leaves.len()).last().unwrap_or(1);
    let (mut proof, sibling) = if m <= k {
        (subproof(m, &leaves[..k], is_whole), mth(&leaves[k..]))
    } else {
        (subproof(m - k, &leaves[k..], false), mth(&leaves[..k]))
    };
    proof.push(sibling);
    proof
}

fn numbered(n: usize) -> Vec<Vec<u8>> {
    (0..n).map(|i| format!("entry {i}").into_bytes()).collect()
}

fn range_of(leaves: &[Vec<u8>]) -> CompactRange {
    let mut range = CompactRange::default();
    for leaf in leaves {
        range.push(Hash::leaf(leaf));
    }
    range
}

fn proven(mut prover: Prover, leaves: &[Vec<u8>]) -> Option<Vec<Hash>> {
    for leaf in leaves {
        prover.push(Hash::leaf(leaf));
    }
    prover.finish()
}

/// The eight leaves and their roots with which the authors of Certificate Transparency test their own code
/// (`merkle_tree_test.cc`, since 2012; the same in Trillian's `merkle/testonly`).
#[test]
fn roots_are_those_of_certificate_transparency() {
    let leaves =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut range = CompactRange::default();
    assert_eq!(
        range.root().to_string(),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "RFC 6962: the hash of an empty list is that of an empty string"
    );
    for (leaf, root) in leaves.iter().zip(roots) {
        range.push(Hash::leaf(&hex::decode(leaf).unwrap()));
        assert_eq!(range.root().to_string(), root, "{} leaves", range.size());
    }
    // Of the same tests: leaf 5 of 8, and 6 to 8.
    let leaves: Vec<Vec<u8>> = leaves.iter().map(|leaf| hex::decode(leaf).unwrap()).collect();
    let shown = |proof: Vec<Hash>| proof.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        shown(proven(Prover::inclusion(&range_of(&leaves[..5]), 8), &leaves[5..]).unwrap()),
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ]
    );
    assert_eq!(
        shown(proven(Prover::consistency(&range_of(&leaves[..6]), 8), &leaves[6..]).unwrap()),
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ]
    );
}

/// Every tree of up to 40 leaves, every leaf and every earlier tree of it, against the definition.
#[test]
fn every_small_tree_is_as_the_definition_says() {
    let all = numbered(40);
    for n in 1..=all.len() {
        let leaves = &all[..n];
        let root = mth(leaves);
        assert_eq!(range_of(leaves).root(), root, "{n}");
        for i in 0..n {
            let expected = path(i, leaves);
            let proof = proven(Prover::inclusion(&range_of(&leaves[..i]), n as u64), &leaves[i..]).unwrap();
            assert_eq!(proof, expected, "leaf {i} of {n}");
            let leaf = Hash::leaf(&leaves[i]);
            assert!(verify_inclusion(&leaf, i as u64, n as u64, &proof, &root), "leaf {i} of {n}");
            for other in (0..n as u64).filter(|other| *other != i as u64) {
                assert!(
                    !verify_inclusion(&leaf, other, n as u64, &proof, &root),
                    "{i} is not {other} of {n}"
                );
            }
        }
        for m in 1..=n {
            let expected = subproof(m, leaves, true);
            let proof = proven(Prover::consistency(&range_of(&leaves[..m]), n as u64), &leaves[m..]).unwrap();
            assert_eq!(proof, expected, "{m} to {n}");
            let (m64, n64, old) = (m as u64, n as u64, mth(&leaves[..m]));
            assert!(verify_consistency(m64, n64, &proof, &old, &root), "{m} to {n}");
        }
    }
}

proptest! {
    /// The tree that is kept whole and the prover that sees each leaf once agree, wherever the part that is not at
    /// hand ends, and what they prove is believed; what was changed in any one place is not.
    #[test]
    fn proofs_hold_and_changed_ones_do_not(n in 2_usize..600, a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>(), spoil in any::<prop::sample::Index>()) {
        let leaves = numbered(n);
        let base = a.index(n);
        let m = base + b.index(n - base) + 1;
        let mut tree = Tree::new(range_of(&leaves[..base]));
        for leaf in &leaves[base..] {
            tree.push(Hash::leaf(leaf));
        }
        let (n64, m64) = (n as u64, m as u64);
        let (root, old) = (mth(&leaves), mth(&leaves[..m]));
        prop_assert_eq!(tree.root_at(n64), Some(root));
        prop_assert_eq!(tree.root_at(m64), Some(old));
        prop_assert_eq!(tree.root_at(base as u64), Some(range_of(&leaves[..base]).root()));
        let proof = tree.consistency(m64, n64).unwrap();
        prop_assert_eq!(&proof, &subproof(m, &leaves, true));
        prop_assert!(verify_consistency(m64, n64, &proof, &old, &root));
        let leaf = m - 1;
        let path = tree.inclusion(leaf as u64, n64).unwrap();
        let hash = Hash::leaf(&leaves[leaf]);
        prop_assert!(verify_inclusion(&hash, leaf as u64, n64, &path, &root));

        let mut changed = root;
        changed.0[spoil.index(32)] ^= 1;
        prop_assert!(!verify_inclusion(&hash, leaf as u64, n64, &path, &changed));
        prop_assert!(m == n || !verify_consistency(m64, n64, &proof, &old, &changed));
        prop_assert!(m == n || !verify_consistency(m64, n64, &proof, &changed, &root));
        for (list, is_consistency) in [(&path, false), (&proof, true)] {
            if list.is_empty() {
                continue;
            }
            let mut spoilt = list.clone();
            spoilt[spoil.index(list.len())].0[0] ^= 1;
            let short = &list[..list.len() - 1];
            let long: Vec<Hash> = list.iter().copied().chain([root]).collect();
            for wrong in [spoilt.as_slice(), short, long.as_slice()] {
                if is_consistency {
                    prop_assert!(!verify_consistency(m64, n64, wrong, &old, &root));
                } else {
                    prop_assert!(!verify_inclusion(&hash, leaf as u64, n64, wrong, &root));
                }
            }
        }
        // An entry that was changed, and all that follows made anew: the trees have different roots.
        let mut forged = leaves.clone();
        forged[leaf].push(b'!');
        prop_assert!(mth(&forged) != root);
        let forged_proof = subproof(m, &forged, true);
        prop_assert!(m == n || !verify_consistency(m64, n64, &forged_proof, &old, &mth(&forged)));
    }

    #[test]
    fn hostile_proofs_are_refused_without_panic(first in any::<u64>(), second in any::<u64>(), proof in prop::collection::vec(any::<[u8; 32]>(), 0..130)) {
        let proof: Vec<Hash> = proof.into_iter().map(Hash).collect();
        let (a, b) = (Hash([1; 32]), Hash([2; 32]));
        prop_assert!(!verify_consistency(first, second, &proof, &a, &b));
        prop_assert!(!verify_inclusion(&a, first, second, &proof, &b));
    }
}

#[test]
fn a_range_that_cannot_be_is_refused() {
    let range = range_of(&numbered(11));
    assert_eq!(CompactRange::from_bytes(11, &range.to_bytes()), Some(range.clone()));
    assert_eq!(CompactRange::from_bytes(12, &range.to_bytes()), None);
    assert_eq!(CompactRange::from_bytes(11, &range.to_bytes()[1..]), None);
    let mut prover = Prover::consistency(&range, 20);
    prover.push(Hash::ZERO);
    assert_eq!(prover.finish(), None, "leaves are missing");
}
