/*
 * The protocol of package ledger, small enough to be searched in full: two
 * coordinators, two worker slots, one Redis, one queue, one etcd, and one cycle
 * of a flow. README.md says how the words here stand to the code, what is left
 * out, and what was found; "scripts/check model" runs everything.
 *
 * Shape: a diamond 0 -> {1,2} -> 3; with JOIN two sources and their join; with
 * CHAIN two nodes in a row. Node 1 is the at-most-once one (with AMO).
 *
 * Budget: up to F faults, of any kind and at any moment.
 *   coordinator: dies; loses its key and goes on as a stale leader
 *   worker:      dies (with or without its message coming back); its connection
 *                breaks while it runs on; its attempt fails; it hands a claim back
 *   queue:       a message is not taken, taken twice, or lost after the confirm;
 *                the confirm is lost; an offer is made again while it still waits
 *   redis:       an answer is lost, so that the client repeats the script;
 *                a live worker's lease is taken for over; TORN: a script stops
 *                between two of its writes; ROLLBACK: it falls back to any earlier state
 *   etcd:        an answer is lost (ONCE); with ETCDLOSS all of it is; with KEYS_TOO the
 *                once-keys are lost together with Redis's last writes
 * CANCEL adds one cancel by a user, at any moment and free of charge.
 */
#ifndef F
#define F 1
#endif
#ifndef MAXA
#define MAXA (F+1)      /* attempts per node: faults alone can't use them up */
#endif
#if defined(CHAIN)
#define N 2
#elif defined(JOIN)
#define N 3
#else
#define N 4
#endif
#define IX(n,a) ((n)*MAXA+(a)-1)
#define NIX (N*MAXA)

/* node states, in the order the scripts know them: WAIT has no record */
#define WAIT 0
#define READY 1
#define DISP 2
#define RUN 3
#define RETRY 4
#define DONE 5
#define FAILED 6
#define UNKNOWN 7
#define SWEPT 8         /* skipped, stopped or cancelled */
#define FINAL(s) ((s)>=DONE)
/* cycle states */
#define NONE 0
#define RUNNING 1
#define CANCELLING 2
#define COMPLETED 3
#define BROKEN 4        /* failed, or cancelled */
#define ENDED (R.cyc>=COMPLETED)
#define TAKES (R.cyc==RUNNING && !R.comp)   /* offers may be claimed */

/* What the checks are called; never set, so that a broken assertion names itself. */
hidden byte S1_counted_once, S2_ready_after_inputs, S3_claimed_after_inputs, S4_joins_in_bounds, S5_stale_leader_writes_nothing,
  S6_one_cycle_per_slot, S7_started_at_most_once, S8_ends_once, S9_no_claim_in_an_ending_cycle, S9_ends_when_all_counted,
  S10_only_the_holder_reports, S11_swept_only_when_ending, P_nothing_hangs, P_faults_alone_fail_nothing;

typedef Ledger {
  byte epoch, cyc, cmp;         /* cmp: nodes counted */
  bit slot, comp, sw;           /* slot accounted; component ended; a sweep stands in the outbox */
  byte st[N], att[N], tok[N];
  byte jn[N];                   /* inputs counted as live */
  bit ls[N], tm[N];             /* lease and retry timer stand in their sets */
  byte ob[NIX];                 /* offers in the outbox: one bit per entry id */
  byte cnt[N], nstart, nend     /* ghosts: counts of this timeline */
};
Ledger R;
#ifdef ROLLBACK
Ledger S; bit saved, rolled;
#endif

byte f = F;
byte q[NIX], nmsg;      /* the queue: how many messages per attempt */
#ifdef STEAL
byte qr[NIX];           /* those that were delivered before */
#endif
byte lead = 2;          /* who holds the key in etcd; 2 = nobody */
byte rev, base;         /* revision of that key; what is added to it */
byte once;              /* the once-key: 0, the token that made it, or GONE */
#define GONE 15
bit old;                /* the claim of the at-most-once node is older than this etcd: a missing key proves nothing */
byte maxep;             /* ghost: highest epoch that Redis ever took */
byte execs;             /* ghost: starts of the at-most-once node */
bit asked;              /* the user cancelled */

/* what the coordinators have in hand */
byte hp[2], hn[2], ha[2], hi[2];        /* dispatcher: 1 read, 2 confirmed; the entry */
byte kt[2];                             /* keeper: token that was seen */
/* worker slots */
byte wp[2], wn[2], wa[2], wt[2]; bit wm[2];     /* phase, attempt, token, message not acked yet */

#ifdef DIRECT           /* a successor is claimed with the report */
byte wd[2];             /* token of that claim, as long as the report is not answered */
byte dt, dn;            /* in a script: the token that is left to give; the node that got it, and 1 */
#define WISHED(x) || wd[0]==(x) || wd[1]==(x)
#else
#define WISHED(x)
#endif

byte t, i, right; bit fenced, torn, ok, again;

#if N==2
#define DEG(n) 1
#define PREDS(n) ((n)==0 || R.st[0]==DONE)
#define ENTRY(n) ((n)==0)
#define ANY(P) (P(0) || P(1))
#define HAS_BAD (BAD(0) || BAD(1))
#define SUM(P) (P(0) + P(1))
#define PICK(P,v) if :: P(0) -> v=0 :: P(1) -> v=1 fi
#elif N==3
#define DEG(n) 2
#define PREDS(n) ((n)!=2 || (R.st[0]==DONE && R.st[1]==DONE))
#define ENTRY(n) ((n)!=2)
#define ANY(P) (P(0) || P(1) || P(2))
#define HAS_BAD (BAD(0) || BAD(1) || BAD(2))
#define SUM(P) (P(0) + P(1) + P(2))
#define PICK(P,v) if :: P(0) -> v=0 :: P(1) -> v=1 :: P(2) -> v=2 fi
#else
#define DEG(n) ((n)==3 -> 2 : 1)
#define PREDS(n) ((n)==0 || ((n)<3 && R.st[0]==DONE) || (R.st[1]==DONE && R.st[2]==DONE))
#define ENTRY(n) ((n)==0)
#define ANY(P) (P(0) || P(1) || P(2) || P(3))
#define HAS_BAD (BAD(0) || BAD(1) || BAD(2) || BAD(3))
#define SUM(P) (P(0) + P(1) + P(2) + P(3))
#define PICK(P,v) if :: P(0) -> v=0 :: P(1) -> v=1 :: P(2) -> v=2 :: P(3) -> v=3 fi
#endif
#ifdef AMO
#define ISAMO(n) ((n)==1)
#else
#define ISAMO(n) 0
#endif
#define FAULT(c) f>0 && (c) -> f--
#ifdef ONLY_ANSWERS     /* lost answers are the only faults */
#define HARM(c) false -> f--
#else
#define HARM(c) FAULT(c)
#endif

/* ---------------------------------------------------------------- the queue */
inline put(px) { if :: q[px]<2 -> q[px]++; nmsg++ :: else fi }         /* a third copy teaches nothing */
#ifdef STEAL
#define STOCK(x) (q[x]+qr[x])
inline put_back(px) { if :: qr[px]<2 -> qr[px]++; nmsg++ :: else fi }
#else
#define STOCK(x) q[x]
inline put_back(px) { put(px) }
#endif
inline take() {                 /* any message: i = which */
  i=0; right=nmsg; again=0;
  do
  :: q[i]>0 -> q[i]--; nmsg--; break
#ifdef STEAL
  :: qr[i]>0 -> qr[i]--; nmsg--; again=1; break
#endif
  :: STOCK(i)<right -> right=right-STOCK(i); i++
  od;
  right=0
}

/* ---------------------------------------------------------------- pieces of scripts */
#ifdef TORN
inline cut() { if :: !torn && f>0 -> f--; torn=1 :: true fi }
#else
#define cut() skip
#endif
#define WRITE(x) cut(); if :: !torn -> x :: else fi

#define HAND(c,n,a) (hp[c]!=0 && hn[c]==(n) && ha[c]==(a) -> hi[c] : 0)
#ifdef ROLLBACK
#define OLD(n,a) S.ob[IX(n,a)]
#else
#define OLD(n,a) 0
#endif
#ifdef CURSOR
byte seen[2*NIX];
#define SEEN(c,n,a) seen[(c)*NIX+IX(n,a)]
#else
#define SEEN(c,n,a) 0
#endif
inline post_offer(pn,pa) {      /* a new id: the lowest bit that nobody has or had */
  i = R.ob[IX(pn,pa)] | OLD(pn,pa) | HAND(0,pn,pa) | HAND(1,pn,pa) | SEEN(0,pn,pa) | SEEN(1,pn,pa);
  t = 1; do :: (i & t) -> t = t<<1 :: else -> break od; assert(t<128);
  R.ob[IX(pn,pa)] = R.ob[IX(pn,pa)] | t; i=0; t=0
}
inline make_ready(mn,ma) {
  assert(S2_ready_after_inputs || PREDS(mn));
  WRITE(R.st[mn]=READY; R.att[mn]=ma; R.tok[mn]=0);
  WRITE(post_offer(mn,ma))
}
#define OPEN(n) (!FINAL(R.st[n]))
#define BAD(n) (R.st[n]==FAILED || R.st[n]==UNKNOWN)
inline close() {
  if
  :: !torn && (R.cyc==RUNNING || R.cyc==CANCELLING) && R.cmp>=N ->
       assert(S9_ends_when_all_counted || !ANY(OPEN));
       cut();
       if
       :: torn
       :: !torn && (R.cyc==CANCELLING || HAS_BAD) -> R.cyc=BROKEN
       :: !torn && R.cyc==RUNNING && !HAS_BAD -> R.cyc=COMPLETED
       fi;
       if :: ENDED -> R.nend++; assert(S8_ends_once || R.nend<=1) :: else fi
  :: else
  fi
}
inline finish(fn,fs) {
  WRITE(R.st[fn]=fs; R.cnt[fn]++; assert(S1_counted_once || R.cnt[fn]<=1));
  WRITE(R.cmp++)
}
inline count_edge(en) {
  WRITE(R.jn[en]++; assert(S4_joins_in_bounds || R.jn[en]<=DEG(en)));
  if
  :: !torn && R.jn[en]==DEG(en) && R.st[en]==WAIT ->
#ifdef DIRECT
       if
       :: dt==0 || ISAMO(en) -> make_ready(en,1)
       :: dt!=0 && !ISAMO(en) ->
            assert(S2_ready_after_inputs || PREDS(en)); assert(S3_claimed_after_inputs || PREDS(en));
            WRITE(R.ls[en]=1);
            WRITE(R.st[en]=RUN; R.att[en]=1; R.tok[en]=dt);
            dn=en+1; dt=0
       fi
#else
       make_ready(en,1)
#endif
  :: else
  fi
}
inline spread(sn) {
#if N==2
  if :: sn==0 -> count_edge(1) :: else fi
#elif N==3
  if :: sn<2 -> count_edge(2) :: else fi
#else
  if :: sn==0 -> count_edge(1); count_edge(2) :: sn==1 || sn==2 -> count_edge(3) :: else fi
#endif
}
inline give_up() {
  WRITE(R.comp=1);
#ifndef NO_SWEEP
  WRITE(R.sw=1)
#endif
}

/* ---------------------------------------------------------------- scripts of a leader */
inline fence() {                /* ep = the caller's epoch */
#ifdef NO_EPOCH
  fenced=0;
#else
  fenced=(ep<R.epoch);
  if :: ep>R.epoch -> R.epoch=ep :: else fi;
#if !defined(ROLLBACK) && !defined(ETCDLOSS)
  assert(S5_stale_leader_writes_nothing || fenced || ep>=maxep);
  if :: !fenced && ep>maxep -> maxep=ep :: else fi;
#endif
#endif
}
inline start_cycle() {
  if
#ifdef NO_DEDUPE
  :: true ->
#else
  :: !R.slot && R.cyc!=NONE -> WRITE(R.slot=1)          /* torn before: account it now */
  :: !R.slot && R.cyc==NONE ->
#endif
       WRITE(R.cyc=RUNNING; R.nstart++; assert(S6_one_cycle_per_slot || R.nstart<=1));
       if :: !torn -> make_ready(0,1) :: else fi;
#if N==3
       if :: !torn -> make_ready(1,1) :: else fi;
#endif
       WRITE(R.slot=1)
  :: else
  fi
}
inline dispatched(dn,da,di) {
#ifdef XDEL_NODE
  i=1; do :: i<=MAXA -> R.ob[IX(dn,i)]=0; i++ :: else -> break od; i=0;
#else
  WRITE(R.ob[IX(dn,da)] = R.ob[IX(dn,da)] & (127-di));
#endif
#ifdef OVERWRITE
  R.st[dn]=DISP
#else
  if :: R.st[dn]==READY && R.att[dn]==da -> WRITE(R.st[dn]=DISP) :: else fi
#endif
}
inline expire(xn,xa,xt,started) {
  if
#ifdef EXPIRE_BLIND
  :: R.st[xn]!=WAIT ->
#else
  :: R.st[xn]==RUN && R.att[xn]==xa && R.tok[xn]==xt ->
#endif
       WRITE(R.ls[xn]=0);
       if
       :: !torn && !TAKES -> finish(xn,SWEPT); close()
#ifdef ONCE
       :: !torn && TAKES && ISAMO(xn) && started -> finish(xn,UNKNOWN); give_up(); close()
       :: !torn && TAKES && !(ISAMO(xn) && started) && xa<MAXA -> make_ready(xn,xa+1)
       :: !torn && TAKES && !(ISAMO(xn) && started) && xa>=MAXA -> finish(xn,FAILED); give_up(); close()
#else
       :: !torn && TAKES && ISAMO(xn) -> finish(xn,UNKNOWN); give_up(); close()
       :: !torn && TAKES && !ISAMO(xn) && xa<MAXA -> make_ready(xn,xa+1)
       :: !torn && TAKES && !ISAMO(xn) && xa>=MAXA -> finish(xn,FAILED); give_up(); close()
#endif
       :: torn
       fi
  :: R.st[xn]!=RUN -> R.ls[xn]=0
  :: else
  fi
}
inline offer_again(on,oa) {
  if :: R.cyc==RUNNING && R.att[on]==oa && (R.st[on]==DISP || R.st[on]==READY) -> make_ready(on,oa) :: else fi
}
inline retry(rn,ra) {
  WRITE(R.tm[rn]=0);
  if :: !torn && R.cyc==RUNNING && R.st[rn]==RETRY && R.att[rn]==ra -> make_ready(rn,ra+1) :: else fi
}
#define ENDING (R.cyc==CANCELLING || R.comp || HAS_BAD)
inline sweep_one(vn) {
  if :: !torn && OPEN(vn) && R.st[vn]!=RUN -> WRITE(R.tm[vn]=0); finish(vn,SWEPT) :: else fi
}
inline sweep() {
  WRITE(R.sw=0);
  if
#ifdef SWEEP_UNGUARDED
  :: !torn && (R.cyc==RUNNING || R.cyc==CANCELLING) ->
#else                  /* it may have been read before Redis fell back: what ends them has to end them still */
  :: !torn && (R.cyc==RUNNING || R.cyc==CANCELLING) && ENDING ->
#endif
       assert(S11_swept_only_when_ending || ENDING);
       sweep_one(0); sweep_one(1);
#if N>2
       sweep_one(2);
#endif
#if N>3
       sweep_one(3);
#endif
       close()
  :: else
  fi
}
/* audit: one repair at a time, guarded by what was seen */
inline mend_node(nn,na,ns) {
  if
  :: R.st[nn]==ns && R.att[nn]==na && (R.cyc==RUNNING || (R.cyc==CANCELLING && ns==RUN)) ->
       if
       :: ns==WAIT -> make_ready(nn,1)
       :: ns==READY -> post_offer(nn,na)
       :: ns==RUN -> R.ls[nn]=1
       :: ns==RETRY -> R.tm[nn]=1
       fi
  :: else
  fi
}
inline mend_counts(was,now_is) {
  if :: (R.cyc==RUNNING || R.cyc==CANCELLING) && R.cmp==was -> WRITE(R.cmp=now_is); close() :: else fi
}
inline mend_join(jj,was,jwas,jright) {
  if :: (R.cyc==RUNNING || R.cyc==CANCELLING) && R.cmp==was && R.jn[jj]==jwas -> R.jn[jj]=jright :: else fi
}

/* ---------------------------------------------------------------- scripts of a worker; ww = slot */
#define N_ wn[ww]
#define MINE (R.st[N_]==RUN && R.att[N_]==wa[ww] && R.tok[N_]==wt[ww])
inline claim(ww) {
  ok=0;
  if
#ifndef SERVER_TOKEN
  :: MINE -> ok=1
#endif
#ifdef STEAL
  :: again && R.st[N_]==RUN && R.att[N_]==wa[ww] && R.tok[N_]!=wt[ww] && TAKES -> R.tok[N_]=wt[ww]; ok=1
#endif
#ifdef CLAIM_ENDING
  :: R.att[N_]==wa[ww] && (R.st[N_]==READY || R.st[N_]==DISP) ->
#else
  :: TAKES && R.att[N_]==wa[ww] && (R.st[N_]==READY || R.st[N_]==DISP) ->
#endif
       assert(S3_claimed_after_inputs || PREDS(N_));
       assert(S9_no_claim_in_an_ending_cycle || TAKES);
       WRITE(R.st[N_]=RUN; R.tok[N_]=wt[ww]);
       WRITE(R.ls[N_]=1);
       if :: ISAMO(N_) -> old=0 :: else fi;
       ok=1
  :: else
  fi
}
inline heartbeat(ww) {          /* only what changes something: a claim that Redis forgot, a lease that is missing */
  if
  :: MINE -> R.ls[N_]=1
  :: else -> assert(S3_claimed_after_inputs || PREDS(N_)); WRITE(R.st[N_]=RUN; R.tok[N_]=wt[ww]); WRITE(R.ls[N_]=1)
  fi
}
#if defined(SEED_COUNT)
#define ACCEPTED (R.cyc!=NONE)
#define HOLDER(ww) true
#elif defined(NO_TOKEN)
#define ACCEPTED (R.st[N_]!=WAIT && !FINAL(R.st[N_]))
#define HOLDER(ww) MINE
#else
#define ACCEPTED MINE
#define HOLDER(ww) MINE
#endif
inline complete(ww) {
  if
  :: ACCEPTED ->
       assert(S10_only_the_holder_reports || HOLDER(ww));
       WRITE(R.ls[N_]=0);
       if :: !torn -> finish(N_,DONE) :: else fi;
       if :: !torn && TAKES -> spread(N_) :: else fi;
       close()
  :: else                       /* counted before, or no longer mine: dropped */
  fi
}
inline failed(ww,fate) {        /* fate: what it is when no retry is left; RETRY = try again */
  if
  :: MINE ->
       WRITE(R.ls[N_]=0);
       if
       :: !torn && !TAKES -> finish(N_,SWEPT); close()
       :: !torn && TAKES && fate==RETRY && !ISAMO(N_) && wa[ww]<MAXA -> WRITE(R.st[N_]=RETRY; R.tok[N_]=0); WRITE(R.tm[N_]=1)
       :: !torn && TAKES && !(fate==RETRY && !ISAMO(N_) && wa[ww]<MAXA) -> finish(N_,(fate==UNKNOWN -> UNKNOWN : FAILED)); give_up(); close()
       :: torn
       fi
  :: else
  fi
}
inline release(ww) {
  if
  :: MINE && TAKES && wa[ww]<MAXA -> WRITE(R.ls[N_]=0); if :: !torn -> make_ready(N_,wa[ww]+1) :: else fi
  :: MINE && !(TAKES && wa[ww]<MAXA) -> failed(ww,FAILED)
  :: else
  fi
}

/* ---------------------------------------------------------------- coordinator */
#define HOLDS(w,n) (wp[w]!=0 && wp[w]!=9 && wn[w]==(n) && wa[w]==R.att[n] && wt[w]==R.tok[n])
#define HELD(n) (HOLDS(0,n) || HOLDS(1,n))
#ifdef STEAL
#define WAITS(n) (q[IX(n,R.att[n])]+qr[IX(n,R.att[n])]>0)
#else
#define WAITS(n) (q[IX(n,R.att[n])]>0)
#endif
#ifdef ONLY_ANSWERS
#define SPARE 0
#else
#define SPARE (f>0)
#endif
#define P_OVER(n)  (R.ls[n] && (SPARE || !HELD(n)))                     /* a lease that is over, or taken for it */
#define P_LOST(n)  (R.st[n]==DISP && (SPARE || !WAITS(n)))              /* no message, or none seen */
#define P_TIMER(n) (R.tm[n])
#define P_LACK(n)  ((R.cyc==RUNNING && !ENDING && R.st[n]==WAIT && PREDS(n)) || (R.cyc==RUNNING && !ENDING && R.st[n]==READY && R.ob[IX(n,R.att[n])]==0) \
                   || (R.st[n]==RUN && !R.ls[n] && (R.cyc==RUNNING || R.cyc==CANCELLING)) || (R.cyc==RUNNING && !ENDING && R.st[n]==RETRY && !R.tm[n]))
#define P_UNSWEPT(n) (!FINAL(R.st[n]) && R.st[n]!=RUN)
#define COUNTED(n) (R.st[n]>=DONE)
#if N==2
#define RIGHT(n) ((n)==1 && R.st[0]==DONE -> 1 : 0)
#elif N==3
#define RIGHT(n) ((n)==2 -> (R.st[0]==DONE)+(R.st[1]==DONE) : 0)
#else
#define RIGHT(n) ((n)==0 -> 0 : ((n)<3 -> (R.st[0]==DONE) : (R.st[1]==DONE)+(R.st[2]==DONE)))
#endif
#define P_JOIN(n)  (R.cyc==RUNNING && !ENDING && R.st[n]==WAIT && R.jn[n]!=RIGHT(n))

/* what a keeper is about to do */
#define K_START 1
#define K_SWEEP 2
#define K_EXPIRE 3
#define K_AGAIN 4
#define K_RETRY 5
#define K_MEND 6
#define K_COUNT 7
#define K_JOIN 8

inline idle() { kp=0; kn=0; ka=0; kx=0; ky=0; kt[me]=0 }
inline hands_off() { hp[me]=0; hn[me]=0; ha[me]=0; hi[me]=0 }
inline forget() { ep=0; tk=0; idle(); hands_off();
#ifdef CURSOR
  i=0; do :: i<NIX -> seen[me*NIX+i]=0; i++ :: else -> break od; i=0
#endif
}
inline deposed() {              /* fenced: the term ends, the own key is removed */
#ifdef ETCDLOSS
  if :: lead==me -> base=R.epoch :: else fi;            /* revisions began anew: rise above what Redis knows */
#endif
  if :: lead==me -> lead=2 :: else fi; forget()
}
inline answer() {               /* the script's answer arrives, or is lost and the script repeated */
  if
  :: fenced -> deposed()
  :: !fenced -> idle()
  :: !fenced && f>0 -> f--
  :: !fenced && torn
  fi;
  fenced=0; torn=0
}

#define UNREAD(n,a) (R.ob[IX(n,a)] & (127-SEEN(me,n,a)))
#if MAXA==1
#define P_OFFER(n) (UNREAD(n,1))
#define PICK_ATTEMPT(n) ha[me]=1
#elif MAXA==2
#define P_OFFER(n) (UNREAD(n,1) || UNREAD(n,2))
#define PICK_ATTEMPT(n) if :: UNREAD(n,1) -> ha[me]=1 :: UNREAD(n,2) -> ha[me]=2 fi
#elif MAXA==3
#define P_OFFER(n) (UNREAD(n,1) || UNREAD(n,2) || UNREAD(n,3))
#define PICK_ATTEMPT(n) if :: UNREAD(n,1) -> ha[me]=1 :: UNREAD(n,2) -> ha[me]=2 :: UNREAD(n,3) -> ha[me]=3 fi
#else
#define P_OFFER(n) (UNREAD(n,1) || UNREAD(n,2) || UNREAD(n,3) || UNREAD(n,4))
#define PICK_ATTEMPT(n) if :: UNREAD(n,1) -> ha[me]=1 :: UNREAD(n,2) -> ha[me]=2 :: UNREAD(n,3) -> ha[me]=3 :: UNREAD(n,4) -> ha[me]=4 fi
#endif
inline read_offer() {
  PICK(P_OFFER,hn[me]); PICK_ATTEMPT(hn[me]);
  right=UNREAD(hn[me],ha[me]);
  if :: (right & 1) -> hi[me]=1 :: (right & 2) -> hi[me]=2 :: (right & 4) -> hi[me]=4 :: (right & 8) -> hi[me]=8
     :: (right & 16) -> hi[me]=16 :: (right & 32) -> hi[me]=32 :: (right & 64) -> hi[me]=64 fi;
#ifdef CURSOR
  SEEN(me,hn[me],ha[me]) = SEEN(me,hn[me],ha[me]) | hi[me];
#endif
  right=0; hp[me]=1
}
inline back() {
#ifdef CURSOR
  SEEN(me,hn[me],ha[me]) = SEEN(me,hn[me],ha[me]) & (127-hi[me]);
#endif
  hands_off()
}

proctype Coordinator(byte me) {
  byte ep, kp, kn, ka, kx, ky; bit tk;
end:
  do
  /* leadership */
  :: atomic { ep==0 && lead==2 && !ENDED -> rev++; lead=me; ep=base+rev;
#ifdef READ_FIRST
       tk=0
#else
       tk=1
#endif
     }
  :: atomic { tk -> fence();                            /* takeover: before anything is read */
       if :: fenced -> deposed() :: !fenced -> tk=0 :: !fenced && f>0 -> f-- fi; fenced=0 }
  :: atomic { HARM(lead==me && ep>0) -> lead=2 }        /* the key is gone, the leader does not know */
  :: atomic { ep>0 && lead!=me -> forget() }            /* it learns that */
  :: atomic { HARM(ep>0) -> if :: lead==me -> lead=2 :: else fi; forget() }

  /* dispatcher: publish what stands in the outbox, mark what is confirmed */
  :: atomic { ep>0 && !tk && hp[me]==0 && ANY(P_OFFER) -> read_offer() }
  :: atomic { hp[me]==1 ->
       i=IX(hn[me],ha[me]);
       if
       :: true -> put(i); hp[me]=2
       :: HARM(true) -> put(i); back()          /* taken, the confirm is lost */
       :: HARM(true) -> back()                  /* not taken */
       :: HARM(true) -> hp[me]=2                /* confirmed, and lost by the broker */
       :: HARM(true) -> put(i); put(i); hp[me]=2
       fi; i=0 }
  :: atomic { hp[me]==2 -> fence();
       if :: !fenced -> dispatched(hn[me],ha[me],hi[me]) :: else fi;
       if
       :: fenced -> deposed()
       :: !fenced -> hands_off()
       :: !fenced && f>0 -> f--
       :: !fenced && torn
       fi; fenced=0; torn=0 }

  /* keeper: looks first, acts later on what it saw */
  :: atomic { ep>0 && !tk && kp==0 && !R.slot && !ENDED -> kp=K_START }
  :: atomic { ep>0 && !tk && kp==0 && R.sw -> kp=K_SWEEP }
  :: atomic { ep>0 && !tk && kp==0 && ANY(P_OVER) -> PICK(P_OVER,kn);
       if :: HELD(kn) && R.st[kn]==RUN -> f-- :: else fi;
       ka=R.att[kn]; kt[me]=R.tok[kn]; kp=K_EXPIRE;
#ifdef ONCE
       kx=(ISAMO(kn) && (once!=0 || old))               /* key and era are read before the script runs */
#endif
     }
#ifndef NO_LOST_CHECK
  :: atomic { ep>0 && !tk && kp==0 && TAKES && ANY(P_LOST) -> PICK(P_LOST,kn);
       if :: WAITS(kn) -> f-- :: else fi;
       ka=R.att[kn]; kp=K_AGAIN }
#endif
  :: atomic { ep>0 && !tk && kp==0 && ANY(P_TIMER) -> PICK(P_TIMER,kn); ka=R.att[kn]; kp=K_RETRY }
#ifndef NO_AUDIT
  :: atomic { ep>0 && !tk && kp==0 && ANY(P_LACK) -> PICK(P_LACK,kn); ka=R.att[kn]; kx=R.st[kn]; kp=K_MEND }
  :: atomic { ep>0 && !tk && kp==0 && (R.cyc==RUNNING || R.cyc==CANCELLING) && (R.cmp!=SUM(COUNTED) || R.cmp==N) -> ka=R.cmp; kx=SUM(COUNTED); kp=K_COUNT }
  :: atomic { ep>0 && !tk && kp==0 && ANY(P_JOIN) -> PICK(P_JOIN,kn); ka=R.cmp; kx=R.jn[kn]; ky=RIGHT(kn); kp=K_JOIN }
  :: atomic { ep>0 && !tk && kp==0 && (R.cyc==RUNNING || R.cyc==CANCELLING) && ENDING && !R.sw && ANY(P_UNSWEPT) -> kp=K_SWEEP }
#endif
  :: atomic { kp!=0 -> fence();
       if
       :: fenced
       :: !fenced && kp==K_START -> start_cycle()
       :: !fenced && kp==K_SWEEP -> sweep()
       :: !fenced && kp==K_EXPIRE -> expire(kn,ka,kt[me],kx)
       :: !fenced && kp==K_AGAIN -> offer_again(kn,ka)
       :: !fenced && kp==K_RETRY -> retry(kn,ka)
       :: !fenced && kp==K_MEND -> mend_node(kn,ka,kx)
       :: !fenced && kp==K_COUNT -> mend_counts(ka,kx)
       :: !fenced && kp==K_JOIN -> mend_join(kn,ka,kx,ky)
       fi;
       answer() }
  od
}

/* ---------------------------------------------------------------- worker slot */
/* A token is a number that is free. One that nobody can present any more is
   forgotten everywhere, so that equal situations look equal. */
#define T4(l,x) (l.tok[0]==(x) || l.tok[1]==(x) || l.tok[N-1]==(x) || l.tok[N-2]==(x))
#ifdef ROLLBACK
#define IN_S(x) T4(S,x)
#else
#define IN_S(x) false
#endif
#define USED(x) (T4(R,x) || IN_S(x) || wt[0]==(x) || wt[1]==(x) || kt[0]==(x) || kt[1]==(x) || once==(x) WISHED(x))
#define LOSE(v,x) if :: v==(x) -> v=0 :: else fi
inline lose(tk_) {
  i=0; do :: i<N -> LOSE(R.tok[i],tk_);
#ifdef ROLLBACK
             LOSE(S.tok[i],tk_);
#endif
             i++
          :: else -> break od; i=0;
  LOSE(kt[0],tk_); LOSE(kt[1],tk_);
  if :: once==tk_ -> once=GONE :: else fi
}
inline leave(ww) {
  if :: wt[ww]!=0 -> lose(wt[ww]) :: else fi;
#ifdef DIRECT
  if :: wd[ww]!=0 -> lose(wd[ww]) :: else fi;
  wd[ww]=0;
#endif
  wp[ww]=0; wn[ww]=0; wa[ww]=0; wt[ww]=0; wm[ww]=0
}

#define W_CLAIM 1       /* its claim was not answered */
#define W_KEY 2         /* claimed; needs the once-key */
#define W_RUN 3
#define W_COMPLETE 4    /* reported, not answered */
#define W_FAIL 5
#define W_RELEASE 6
#define W_UNKNOWN 7     /* somebody else's once-key is there */
#define W_KEYLESS 8     /* broken variants only */
#define W_ACK 9
inline start(ww) {
  wp[ww]=W_RUN;
  if :: ISAMO(N_) -> execs++; assert(S7_started_at_most_once || execs<=1) :: else fi
}
inline granted(ww) {
#ifdef ONCE
  if :: ISAMO(N_) -> wp[ww]=W_KEY :: else -> wp[ww]=W_RUN fi
#else
  start(ww)
#endif
}
inline reported(ww,open) { if :: wp[ww]=W_ACK :: f>0 -> f--; wp[ww]=open :: torn -> wp[ww]=open fi; torn=0 }
#define FORGOTTEN(w) (R.cyc==RUNNING && R.att[wn[w]]==wa[w] && (R.st[wn[w]]==READY || R.st[wn[w]]==DISP))
#define UNLEASED(w) (R.st[wn[w]]==RUN && R.att[wn[w]]==wa[w] && R.tok[wn[w]]==wt[w] && !R.ls[wn[w]])

proctype Worker(byte w) {
end:
  do
  :: atomic { wp[w]==0 && nmsg>0 ->
       take(); wn[w]=i/MAXA; wa[w]=i%MAXA+1; wm[w]=1; i=0;
       t=1; do :: USED(t) -> t++ :: else -> break od; wt[w]=t; t=0;
       claim(w);
       if
       :: !ok -> leave(w)                               /* a duplicate, or late: acked and dropped */
       :: ok -> granted(w)
       :: ok && f>0 -> f--; wp[w]=W_CLAIM
       :: ok && torn -> wp[w]=W_CLAIM
       fi; ok=0; torn=0; again=0 }
  :: atomic { wp[w]==W_CLAIM -> claim(w); if :: ok -> granted(w) :: else -> leave(w) fi; ok=0; torn=0 }
#ifdef ONCE
#if defined(ONCE_LATE)          /* broken: looks first, writes later */
  :: atomic { wp[w]==W_KEY -> if :: once==0 -> wp[w]=W_KEYLESS :: else -> wp[w]=W_UNKNOWN fi }
  :: atomic { wp[w]==W_KEYLESS -> once=wt[w]; start(w) }
#elif defined(ONCE_AFTER)       /* broken: the handler starts first */
  :: atomic { wp[w]==W_KEY && once==0 -> start(w); wp[w]=W_KEYLESS }
  :: atomic { wp[w]==W_KEY && once!=0 -> wp[w]=W_UNKNOWN }
  :: atomic { wp[w]==W_KEYLESS -> once=wt[w]; wp[w]=W_RUN }
#else
  :: atomic { wp[w]==W_KEY ->                           /* one transaction: create if absent, else compare */
       if :: once==0 -> once=wt[w] :: else fi;
       if
       :: once==wt[w] -> start(w)
       :: f>0 -> f--                                    /* its answer is lost: asked again */
       :: once!=wt[w] -> wp[w]=W_UNKNOWN
       fi }
#endif
#endif
  :: atomic { wp[w]==W_UNKNOWN -> failed(w,UNKNOWN); reported(w,W_UNKNOWN) }
#ifdef DIRECT
  :: atomic { wp[w]==W_RUN || wp[w]==W_COMPLETE ->
       if
       :: wp[w]==W_RUN -> t=1; do :: USED(t) -> t++ :: else -> break od; wd[w]=t; t=0    /* would take a successor */
       :: true
       fi;
       dt=wd[w]; dn=0;
       complete(w);
       dt=0;
       if
       :: dn==0 && wd[w]!=0 ->                          /* counted before: is one held by the token? */
            i=0; do :: i<N -> if :: R.st[i]==RUN && R.tok[i]==wd[w] -> dn=i+1 :: else fi; i++ :: else -> break od; i=0
       :: else
       fi;
       if
       :: !torn && dn!=0 -> lose(wt[w]); wn[w]=dn-1; wa[w]=1; wt[w]=wd[w]; wd[w]=0; wm[w]=0; start(w)    /* the message is acked */
       :: !torn && dn==0 -> wp[w]=W_ACK
       :: f>0 -> f--; wp[w]=W_COMPLETE
       :: torn -> wp[w]=W_COMPLETE
       fi; torn=0; dn=0 }
#else
  :: atomic { wp[w]==W_RUN || wp[w]==W_COMPLETE -> complete(w); reported(w,W_COMPLETE) }
#endif
  :: atomic { HARM(wp[w]==W_RUN) -> failed(w,RETRY); reported(w,W_FAIL) }
  :: atomic { wp[w]==W_FAIL -> failed(w,RETRY); reported(w,W_FAIL) }
  :: atomic { HARM(wp[w]==W_RUN && !ISAMO(wn[w])) -> release(w); reported(w,W_RELEASE) }
  :: atomic { wp[w]==W_RELEASE -> release(w); reported(w,W_RELEASE) }
  :: atomic { wp[w]>=W_KEY && wp[w]!=W_ACK && (FORGOTTEN(w) || UNLEASED(w)) -> heartbeat(w); torn=0 }
  :: atomic { wp[w]==W_ACK -> leave(w) }
  :: atomic { HARM(wp[w]!=0) -> if :: wm[w] -> put_back(IX(wn[w],wa[w])) :: true fi; leave(w) }   /* dies; its message comes back unless acked early */
  :: atomic { HARM(wp[w]!=0 && wm[w]) -> wm[w]=0; put_back(IX(wn[w],wa[w])) }                     /* loses its connection only */
  od
}

/* ---------------------------------------------------------------- the rest of the world */
#ifdef ROLLBACK
#define COPY(x,y) x.epoch=y.epoch; x.cyc=y.cyc; x.cmp=y.cmp; x.slot=y.slot; x.comp=y.comp; x.sw=y.sw; x.nstart=y.nstart; x.nend=y.nend; \
  i=0; do :: i<N -> x.st[i]=y.st[i]; x.att[i]=y.att[i]; x.tok[i]=y.tok[i]; x.jn[i]=y.jn[i]; x.ls[i]=y.ls[i]; x.tm[i]=y.tm[i]; x.cnt[i]=y.cnt[i]; i++ :: else -> break od; \
  i=0; do :: i<NIX -> x.ob[i]=y.ob[i]; i++ :: else -> break od; i=0
Ledger Z;                       /* never written */
proctype Disaster() {           /* at most once */
end:
  do
  :: atomic { !saved && !rolled && f>0 && !ENDED -> COPY(S,R); saved=1 }
  :: atomic { HARM(saved) -> COPY(R,S); COPY(S,Z); saved=0; rolled=1;
#ifdef KEYS_TOO         /* beyond what is promised: etcd falls back with it */
       once=0
#endif
     }
  od
}
#endif
#ifdef ETCDLOSS
proctype Rebuilt() {            /* etcd comes back empty */
end:
  do :: atomic { HARM(rev>0) -> lead=2; rev=0; base=0; once=0; old=(R.st[1]==RUN) } od
}
#endif
#ifdef CANCEL
proctype User() {
end:
  do
  :: atomic { !asked && R.cyc==RUNNING -> asked=1;
#ifdef CLOSE_NOW
       R.cyc=BROKEN; R.nend++; assert(S9_ends_when_all_counted || !ANY(OPEN))
#else
       WRITE(R.cyc=CANCELLING); WRITE(R.sw=1); torn=0
#endif
     }
  od
}
#endif
proctype Monitor() {
  timeout -> assert(P_nothing_hangs || ENDED)
#if (!defined(AMO) || defined(ONLY_ANSWERS)) && !defined(CANCEL)
  ; assert(P_faults_alone_fail_nothing || R.cyc==COMPLETED)
#endif
}
init { atomic {
  run Coordinator(0); run Coordinator(1); run Worker(0); run Worker(1); run Monitor();
#ifdef ROLLBACK
  run Disaster();
#endif
#ifdef ETCDLOSS
  run Rebuilt();
#endif
#ifdef CANCEL
  run User();
#endif
} }
